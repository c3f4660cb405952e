"""Both OpenAPI documents have what readers and client generators need."""

import pytest


def operations(document):
    return {(method, path): each for path, methods in document["paths"].items() for method, each in methods.items()}


@pytest.fixture(params=["/openapi.json", "/front/openapi.json"])
def document(shared, request):
    return shared.manage(request.param).json()


def test_every_operation_has_a_readable_unique_id_and_a_summary(document):
    found = list(operations(document).values())
    ids = [each["operationId"] for each in found]
    assert len(set(ids)) == len(ids)
    assert all(each.replace("_", "").isalpha() and each.islower() and "__" not in each for each in ids)
    assert all(each["summary"] and each["tags"] for each in found)


def test_every_response_with_a_body_is_of_a_named_type(document):
    def named(schema):
        options = schema.get("anyOf", [schema.get("items", schema)])
        return all(each.get("$ref", "").startswith("#/components/schemas/") for each in options)

    # The front's document is itself the response of an operation, of a type that OpenAPI cannot name.
    unnamed = {
        each["operationId"]
        for each in operations(document).values()
        for response in each["responses"].values()
        for content in response.get("content", {}).values()
        if not named(content["schema"])
    }
    assert unnamed <= {"show_front_document"}


def test_the_control_plane_requires_the_token_except_for_health(shared):
    document = shared.manage("/openapi.json").json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    without = {path for (_, path), each in operations(document).items() if each.get("security") != [{"bearer": []}]}
    assert without == {"/healthz", "/readyz"}


def test_authorize_takes_a_key_from_either_header_and_decisions_take_none(shared):
    found = operations(shared.manage("/front/openapi.json").json())
    assert found["get", "/authorize"]["security"] == [{"bearer": []}, {"x-api-key": []}]
    assert [found["post", f"/v1/{verb}"]["security"] for verb in ("take", "peek", "refund")] == [[]] * 3
