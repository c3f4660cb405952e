"""YAML text as a tree that remembers its lines. What a scalar means is for the field that it stands in to say.

So `on`, `1e3` and `2026-12-31` surprise nobody. Anchors, tags and merging are refused: there is nothing here to repeat, and no
file can then grow beyond its size. The tree is built from events, without recursion, and not deeper than any real file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from limiter.api.config.mistakes import ConfigError, Mistake, shown
from limiter.api.config.syntax import explained, unprintable

WHOLE_FILE = "file"

_DEEPEST = 20
_LONGEST_NAME = 60
_MOST_MISTAKES = 1000
_NULLS = {"", "~", "null", "Null", "NULL"}
# The one in C is twenty times faster; where it is not built, the other finds the same.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Step = str | int


class Plain(str):
    """A scalar without quotes: it may be a number, where one is asked for."""

    __slots__ = ()


@dataclass(slots=True)
class Node:
    """`value` is None, text, or the nodes within; `line` is where its name stands, or it begins."""

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
    return len(name) <= _LONGEST_NAME and name.isascii() and name.replace("-", "").replace("_", "").isalnum()


@dataclass(slots=True)
class _Open:
    """A list or mapping that has not ended. `name` is that of the field whose value comes next."""

    node: Node
    step: Step
    name: str | None = None
    name_line: int = 0

    @property
    def awaits_name(self) -> bool:
        return self.name is None and isinstance(self.node.value, dict)


@dataclass(slots=True)
class Parse:
    """One file being read: `Parse(name).tree(text)` is its tree; `mistakes` are those after which reading goes on."""

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
            self._stop(1, "is empty: write at least `policies:`, or begin with the file that `limiter init` writes")
        return self._root

    def _on(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
            self._stop(line, "a second document begins here, with `---`: a file holds one; leave the line out")
        if isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        if isinstance(event, yaml.NodeEvent):
            self._refuse_extras(event, line)
            self._node(event, line)

    def _refuse_extras(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.AliasEvent):
            remedy = "write the value out; a text that begins with * goes in quotes"
            self._wrong(line, f"{shown(f'*{event.anchor}')} is a YAML alias, and none are read here: {remedy}")
        elif event.anchor:
            self._wrong(line, f"{shown(f'&{event.anchor}')} is a YAML anchor, and none are read here: leave it out")
        elif event.tag:
            self._wrong(line, f"{shown(event.tag)} is a YAML tag, and none are read here: leave it out")

    def _node(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.CollectionStartEvent):
            self._collection(Node(line, {} if isinstance(event, yaml.MappingStartEvent) else []))
        elif self._open and self._open[-1].awaits_name:
            self._open[-1].name, self._open[-1].name_line = getattr(event, "value", ""), line
        else:
            self._attach(Node(line, _meant(event)))

    def _collection(self, node: Node) -> None:
        if self._open and self._open[-1].awaits_name:
            self._stop(node.line, "a list or a mapping stands where a name should: write `name: value`, and texts with brackets in quotes")
        if len(self._open) >= _DEEPEST:
            self._stop(node.line, f"lists and mappings are nested more than {_DEEPEST} deep: no field is")
        self._open.append(_Open(node, self._attach(node)))

    def _attach(self, node: Node) -> Step:
        """Puts a node in its place, and says by what it is found there."""
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
            self._wrong(node.line, f"stands on line {first.line} already: keep one of the two", name)
        return name

    def _wrong(self, line: int, message: str, name: str | None = None) -> None:
        inmost = name if name is not None else (self._open[-1].name if self._open else None)
        path = (*(inner.step for inner in self._open[1:]), *([inmost] if inmost is not None else []))
        self.mistakes.append(Mistake(self.file, line, dotted(path), message))
        if len(self.mistakes) >= _MOST_MISTAKES:
            raise ConfigError(self.mistakes)

    def _stop(self, line: int, message: str) -> NoReturn:
        self._wrong(line, message)
        raise ConfigError(self.mistakes)


def _meant(event: Any) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return None
    if event.style:
        return str(event.value)
    return None if event.value in _NULLS else Plain(event.value)
