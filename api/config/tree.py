"""Parses YAML text to a tree of nodes with their line numbers.

A scalar stays text: its field decides what it means, so `on`, `1e3` and `2026-12-31` hold no surprises. Anchors, aliases, tags and
merge keys are refused, so a tree is never larger than its file. The tree is built from events without recursion, to a fixed depth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from limiter.api.config.mistakes import ConfigError, Mistake, shown
from limiter.api.config.syntax import explained, unprintable

WHOLE_FILE = "file"

_MAX_DEPTH = 20
_MAX_PLAIN_NAME = 60
_MAX_MISTAKES = 1000
_NULLS = {"", "~", "null", "Null", "NULL"}
# The parser in C is 20 times faster, and not part of every build of PyYAML.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Step = str | int


class Plain(str):
    """A scalar without quotes. Only such a scalar can be a number or a truth value."""

    __slots__ = ()


@dataclass(slots=True)
class Node:
    """`value` is None, text, or the child nodes. `line` is the line of its name, or else the line where it begins."""

    line: int
    value: str | dict[str, Node] | list[Node] | None

    def data(self) -> Any:
        if isinstance(self.value, dict):
            return {name: node.data() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.data() for node in self.value]
        return self.value

    def child(self, step: object) -> Node | None:
        if isinstance(self.value, dict) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def nearest(self, path: Iterable[object]) -> tuple[tuple[Step, ...], Node]:
        """The steps of the path that exist, and the node where they lead. A mistake's path also has steps that only its checker knows."""
        steps: tuple[Step, ...] = ()
        node = self
        for step in path:
            if isinstance(step, Step) and (inner := node.child(step)):
                steps, node = (*steps, step), inner
        return steps, node


def dotted(path: tuple[Step, ...]) -> str:
    """`policies.standard.limits[0]`, `policies.'a.b'.limits`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += "." * bool(text) + (step if _is_plain(step) else shown(step))
    return text or WHOLE_FILE


def _is_plain(name: str) -> bool:
    return len(name) <= _MAX_PLAIN_NAME and name.isascii() and name.replace("-", "").replace("_", "").isalnum()


@dataclass(slots=True)
class _Open:
    """A list or mapping that has not ended yet. `name` is the field whose value comes next."""

    node: Node
    step: Step
    name: str | None = None
    name_line: int = 0

    @property
    def awaits_name(self) -> bool:
        return self.name is None and isinstance(self.node.value, dict)


@dataclass(slots=True)
class Parse:
    """Parses one file: `Parse(name).tree(text)`. `mistakes` collects those that do not stop the parser."""

    file: str
    mistakes: list[Mistake] = field(default_factory=list)
    _root: Node | None = None
    _open: list[_Open] = field(default_factory=list)

    def tree(self, text: str) -> Node:
        if found := unprintable(text):
            self._stop(*found)
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                self._on(event)
        except yaml.YAMLError as error:
            self._stop(*explained(error, text))
        if self._root is None or self._root.value is None:
            self._stop(1, "must not be empty: define `policies:`, or start from the file that `limiter init` writes")
        return self._root

    def _on(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
            self._stop(line, "must contain one YAML document: a second one begins at this `---`")
        if isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        if isinstance(event, yaml.NodeEvent):
            self._refuse_extras(event, line)
            self._node(event, line)

    def _refuse_extras(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.AliasEvent):
            alias = shown(f"*{event.anchor}")
            self._wrong(line, f"YAML aliases such as {alias} are not supported: write out the value, or quote text that begins with *")
        elif event.anchor:
            self._wrong(line, f"YAML anchors such as {shown(f'&{event.anchor}')} are not supported: remove them")
        elif event.tag:
            self._wrong(line, f"YAML tags such as {shown(event.tag)} are not supported: remove them")

    def _node(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.CollectionStartEvent):
            self._collection(Node(line, {} if isinstance(event, yaml.MappingStartEvent) else []))
        elif self._open and self._open[-1].awaits_name:
            self._open[-1].name, self._open[-1].name_line = getattr(event, "value", ""), line
        else:
            self._attach(Node(line, _scalar(event)))

    def _collection(self, node: Node) -> None:
        if self._open and self._open[-1].awaits_name:
            self._stop(node.line, "a field's name must be text, not a list or a mapping: write `name: value`, and quote text with brackets")
        if len(self._open) >= _MAX_DEPTH:
            self._stop(node.line, f"must not nest lists and mappings more than {_MAX_DEPTH} deep")
        self._open.append(_Open(node, self._attach(node)))

    def _attach(self, node: Node) -> Step:
        """Adds the node to its parent, and returns the step that leads to it."""
        if not self._open:
            self._root = node
            return ""
        siblings = self._open[-1].node.value
        if isinstance(siblings, list):
            siblings.append(node)
            return len(siblings) - 1
        return self._put(node, self._open[-1])

    def _put(self, node: Node, mapping: _Open) -> str:
        siblings: Any = mapping.node.value
        node.line, name = mapping.name_line, mapping.name or ""
        mapping.name = None
        first = siblings.setdefault(name, node)
        if first is not node:
            self._wrong(node.line, f"must appear only once: line {first.line} has it already", name)
        return name

    def _wrong(self, line: int, message: str, name: str | None = None) -> None:
        innermost = name if name is not None else (self._open[-1].name if self._open else None)
        path = (*(inner.step for inner in self._open[1:]), *([innermost] if innermost is not None else []))
        self.mistakes.append(Mistake(self.file, line, dotted(path), message))
        if len(self.mistakes) >= _MAX_MISTAKES:
            raise ConfigError(self.mistakes)

    def _stop(self, line: int, message: str) -> NoReturn:
        self._wrong(line, message)
        raise ConfigError(self.mistakes)


def _scalar(event: Any) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return None
    if event.style:
        return str(event.value)
    return None if event.value in _NULLS else Plain(event.value)
