"""Checks a tree against the forms: the result is a FileForm, or every mistake with its line."""

from typing import Any

from pydantic import ValidationError

from limiter.api.config.fields import REQUIRED, CheckContext, must_be
from limiter.api.config.forms import FileForm
from limiter.api.config.mistakes import ConfigError, Mistake, shortened, suggestion
from limiter.api.config.tree import Node, Parse, dotted

_MAX_MISTAKES = 1000
_NOT_FIELDS = {
    "pepper": "must not be in the file: set LIMITER_PEPPER in the environment",
    "<<": "YAML merge keys are not supported: write out the fields",
}


def checked(parse: Parse, tree: Node) -> FileForm:
    """Raises ConfigError with the mistakes of parsing and of the content together."""
    data, context = tree.data(), _context(tree)
    mistakes = list(parse.mistakes)
    try:
        form = FileForm.model_validate(data, context=context)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:_MAX_MISTAKES]
        mistakes += [_mistake(parse.file, tree, each, _fields(data, each["loc"], context)) for each in found]
        raise ConfigError(mistakes) from None
    if mistakes:
        raise ConfigError(mistakes)
    return form


def _fields(data: Any, loc: tuple[Any, ...], context: CheckContext) -> tuple[str, ...]:
    for step in loc[:-1]:
        if isinstance(data, dict | list) and (step in data if isinstance(data, dict) else isinstance(step, int)):
            data = data[step]
    return context.fields.get(id(data), ())


def _context(tree: Node) -> CheckContext:
    accounts = tree.child("accounts")
    tiered = {name for name in _names(accounts) if (account := accounts and accounts.child(name)) and account.child("tier")}
    return CheckContext(_names(tree.child("policies")), _names(tree.child("tiers")), frozenset(tiered))


def _names(node: Node | None) -> frozenset[str]:
    return frozenset(node.value) if node and isinstance(node.value, dict) else frozenset()


def _mistake(file: str, tree: Node, error: Any, fields: tuple[str, ...]) -> Mistake:
    steps, node = tree.nearest(error["loc"])
    if error["type"] == "extra_forbidden":
        return Mistake(file, node.line, dotted(steps), _unknown(str(steps[-1]), fields))
    message = _message(error, node)
    if message.startswith(REQUIRED):
        return Mistake(file, node.line, dotted((*steps, error["loc"][-1])), message)
    # The library's messages begin with the name of the field.
    name = message.partition(" ")[0]
    if inner := node.child(name):
        steps, node = (*steps, name), inner
    return Mistake(file, node.line, dotted(steps), shortened(message))


def _message(error: Any, node: Node) -> str:
    if error["type"] == "missing":
        return REQUIRED
    if error["type"] == "literal_error":
        return str(must_be(error["ctx"]["expected"].replace("'", ""), node.value))
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else str(error["msg"])


def _unknown(name: str, fields: tuple[str, ...]) -> str:
    return _NOT_FIELDS.get(name) or f"unknown field: {suggestion(name, fields)}"
