"""The tree held against the shape of the file: a form of it, or every mistake with its line."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from limiter.api.config.context import CheckContext
from limiter.api.config.fields import MISSING
from limiter.api.config.forms import FileForm
from limiter.api.config.mistakes import ConfigError, Mistake, instead, shortened
from limiter.api.config.tree import Node, Parse, Step, dotted

_MOST = 1000
_ELSEWHERE = {
    "pepper": "stands in no file: set LIMITER_PEPPER in the environment",
    "<<": "is YAML's merging, and none is read here: write the fields out",
}


def checked(parse: Parse, tree: Node) -> FileForm:
    """The mistakes of reading are told here too, together with those of the content."""
    data, known = tree.data(), _known(tree)
    mistakes = list(parse.mistakes)
    try:
        form = FileForm.model_validate(data, context=known)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:_MOST]
        raise ConfigError(mistakes + [_mistake(parse.file, tree, each, _fields(data, each["loc"], known)) for each in found]) from None
    if mistakes:
        raise ConfigError(mistakes)
    return form


def _fields(data: Any, loc: tuple[Any, ...], known: CheckContext) -> tuple[str, ...]:
    """The fields that there are in the mapping where this mistake was found."""
    for step in loc[:-1]:
        if isinstance(data, dict | list) and (step in data if isinstance(data, dict) else isinstance(step, int)):
            data = data[step]
    return known.fields.get(id(data), ())


def _known(tree: Node) -> CheckContext:
    accounts = tree.child("accounts")
    tiered = {name for name in _names(accounts) if (account := accounts and accounts.child(name)) and account.child("tier")}
    return CheckContext(_names(tree.child("policies")), _names(tree.child("tiers")), frozenset(tiered))


def _names(node: Node | None) -> frozenset[str]:
    return frozenset(node.value) if node and isinstance(node.value, dict) else frozenset()


def _mistake(file: str, tree: Node, error: Any, fields: tuple[str, ...]) -> Mistake:
    steps, node = _place(tree, error["loc"])
    if error["type"] == "extra_forbidden":
        return Mistake(file, node.line, dotted(steps), _unknown(str(steps[-1]), fields))
    message = _message(error)
    if message.startswith(MISSING):
        return Mistake(file, node.line, dotted((*steps, error["loc"][-1])), message)
    # The library's messages begin with the field that they are about.
    inner = node.child(message.partition(" ")[0])
    if inner:
        steps, node = (*steps, message.partition(" ")[0]), inner
    return Mistake(file, node.line, dotted(steps), shortened(message))


def _message(error: Any) -> str:
    if error["type"] == "missing":
        return f"{MISSING}: write it"
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else str(error["msg"])


def _unknown(name: str, fields: tuple[str, ...]) -> str:
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    return f"is no field: {instead(name, fields)}"


def _place(tree: Node, loc: tuple[Any, ...]) -> tuple[tuple[Step, ...], Node]:
    """As far as the tree goes: a location also has steps that are the checker's own."""
    steps: tuple[Step, ...] = ()
    node = tree
    for step in loc:
        if inner := node.child(step):
            steps, node = (*steps, step), inner
    return steps, node
