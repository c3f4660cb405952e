"""Keys over HTTP."""

from fastapi import APIRouter

from limiter.api.control.registry_bodies import Count, Cursor, ImportedKey, KeyPage, KeyPatch, NewKey, PresentedKey, Rotation
from limiter.api.registry import InvalidRecord, Key, Registry
from limiter.api.registry.views import IssuedKeyView, KeyView, issued_view, key_view


def add_key_routes(router: APIRouter, registry: Registry) -> None:
    keys = registry.keys

    @router.get("/accounts/{account}/keys", tags=["keys"])
    async def list_keys(account: str, cursor: Cursor = "", count: Count = 100) -> KeyPage:
        """Keys of the account, oldest first, one page at a time."""
        page, now_us = await keys.list(account, cursor, count), await registry.now_us()
        return {"keys": [key_view(each, now_us) for each in page.items], "cursor": page.cursor}

    @router.post("/accounts/{account}/keys", tags=["keys"], status_code=201)
    async def issue_key(account: str, body: NewKey) -> IssuedKeyView:
        """Creates a key. Only this response contains the raw key."""
        return issued_view(await keys.issue(account, body.environment, **body.change()))

    @router.post("/accounts/{account}/keys/import", tags=["keys"], status_code=201)
    async def import_key(account: str, body: ImportedKey) -> KeyView:
        """Adds an existing key, given either as `key` or as its `sha256`."""
        if body.sha256 is not None:
            adopted = await keys.adopt_digest(account, body.sha256, body.environment, **body.change())
        elif body.key is not None:
            adopted = await keys.adopt(account, body.key.get_secret_value(), body.environment, **body.change())
        else:
            raise InvalidRecord("the body must contain key or sha256")
        return await _viewed(registry, adopted)

    @router.post("/keys/find", tags=["keys"])
    async def find_key(body: PresentedKey) -> KeyView:
        """Finds the record of a raw key."""
        return await _viewed(registry, await keys.find(body.key.get_secret_value()))


def add_key_change_routes(router: APIRouter, registry: Registry) -> None:
    keys = registry.keys

    @router.get("/accounts/{account}/keys/{key}", tags=["keys"])
    async def show_key(account: str, key: str) -> KeyView:
        return await _viewed(registry, await keys.show(account, key))

    @router.patch("/accounts/{account}/keys/{key}", tags=["keys"])
    async def change_key(account: str, key: str, body: KeyPatch) -> KeyView:
        """Changes the fields that the body contains, and keeps the others."""
        return await _viewed(registry, await keys.set(account, key, **body.change()))

    @router.post("/accounts/{account}/keys/{key}/rotate", tags=["keys"], status_code=201)
    async def rotate_key(account: str, key: str, body: Rotation) -> IssuedKeyView:
        """Issues a replacement that shares the old key's counters. The old key stays valid for `overlap` seconds."""
        return issued_view(await keys.rotate(account, key, body.overlap))

    @router.post("/accounts/{account}/keys/{key}/revoke", tags=["keys"])
    async def revoke_key(account: str, key: str) -> KeyView:
        """Refuses the key permanently, from the next request on."""
        return await _viewed(registry, await keys.revoke(account, key))


async def _viewed(registry: Registry, key: Key) -> KeyView:
    return key_view(key, await registry.now_us())
