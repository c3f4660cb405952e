"""Defaults in the schemas of request bodies."""

import json
from typing import Any


def describe_defaults(schema: dict[str, Any]) -> None:
    """Moves defaults into descriptions: generators such as openapi-typescript make a property with a default a required one."""
    for each in schema["properties"].values():
        default = each.pop("default", None)
        # An empty default stands for an absent field.
        if default not in (None, "", []):
            each["description"] = f"{each.get('description', '')} Default: `{json.dumps(default)}`.".lstrip()
