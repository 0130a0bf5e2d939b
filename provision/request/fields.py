"""Reads fields from YAML nodes, so that every problem has its line and its field, and all are found in one go.

Works on the node tree, before YAML turns text into values: a region called `no` stays text, a key given twice is seen.
Knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import yaml

from provision.errors import InvalidInput
from provision.request.model import Origin
from provision.spelling import did_you_mean

T = TypeVar("T")
Read = Callable[[yaml.Node], T]
"""Turns a node into a value, or raises ValueError with 'expected …, found …'."""

LARGEST_TEXT = 65_536

_NOTHING = yaml.ScalarNode("tag:yaml.org,2002:null", "")


@dataclass(slots=True, kw_only=True)
class Notes:
    """What is noted while one document is read: the line of each field, and the problems."""

    source: str
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def origin(self) -> Origin:
        """Where the fields were written."""
        return Origin(source=self.source, lines=self.lines)

    def add(self, name: str, message: str, line: int | None = None) -> None:
        """Note one problem of the field `name`; its line is the field's own unless given."""
        text = self.origin.problem(name, message) if line is None else f"{self.source}:{line}: {name}: {message}"
        self.problems.append((line or self.lines.get(name) or self.lines.get(name.rpartition(".")[0], 0), name, text))

    def raise_if_any(self) -> None:
        """Raise InvalidInput with all problems, in the order of their lines."""
        if self.problems:
            raise InvalidInput(tuple(text for _, _, text in sorted(self.problems, key=lambda problem: problem[0])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """One mapping of the document; `prefix` is '' for the whole and 'gpu.' for a section."""

    prefix: str
    nodes: Mapping[str, yaml.Node]
    notes: Notes

    def need(self, name: str, read: Read[T], otherwise: T) -> T:
        """Return the value of a field that must be there; a missing or bad one is noted and read as `otherwise`."""
        if name in self.nodes or self.failed(name):
            return self.may(name, read, otherwise)
        return self._read(name, _NOTHING, read, otherwise)

    def may(self, name: str, read: Read[T], otherwise: T) -> T:
        """Return the value of a field that may be left out; a bad one is noted and read as `otherwise`."""
        return self._read(name, self.nodes[name], read, otherwise) if name in self.nodes else otherwise

    def section(self, name: str, known: tuple[str, ...], *, needed: bool = False) -> Fields:
        """Return the mapping under `name`, empty if it is missing; fields that are not `known` are noted."""
        prefix = f"{self.prefix}{name}."
        if name in self.nodes:
            return mapping(self.nodes[name], prefix, known, self.notes)
        if needed and not self.failed(name):
            self.notes.add(self.prefix + name, f"expected a mapping with {', '.join(known)}; found nothing")
        return Fields(prefix=prefix, nodes={}, notes=self.notes)

    def failed(self, *names: str) -> bool:
        """Tell whether a problem of one of these fields, of the section or of the whole was noted."""
        wanted = {self.prefix + name for name in names} | {self.prefix.rstrip("."), ""}
        return any(name in wanted for _, name, _ in self.notes.problems)

    def _read(self, name: str, node: yaml.Node, read: Read[T], otherwise: T) -> T:
        try:
            return read(node)
        except ValueError as error:
            self.notes.add(self.prefix + name, str(error))
            return otherwise


def compose(text: str, notes: Notes) -> yaml.Node | None:
    """Return the node of the only document in `text`.

    Raises:
        InvalidInput: the text is too long or no YAML.
    """
    if len(text) > LARGEST_TEXT:
        raise InvalidInput((f"{notes.source}: expected at most {LARGEST_TEXT} characters, found {len(text)}",))
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{notes.source}:{mark.line + 1}" if mark else notes.source
        raise InvalidInput((f"{place}: expected YAML, found: {error.problem or error.context}",)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput((f"{notes.source}: expected YAML, found: {error}",)) from error


def mapping(node: yaml.Node | None, prefix: str, known: tuple[str, ...], notes: Notes) -> Fields:
    """Return the fields of a mapping node; what is no mapping, not known or given twice is noted."""
    name, nodes = prefix.rstrip("."), {}
    if not isinstance(node, yaml.MappingNode):
        notes.add(name, f"expected a mapping with {', '.join(known)}; found {found(node)}")
        return Fields(prefix=prefix, nodes={}, notes=notes)
    notes.lines.setdefault(name, node.start_mark.line + 1)
    for key, value in node.value:
        line, label = key.start_mark.line + 1, str(key.value) if isinstance(key, yaml.ScalarNode) else found(key)
        if label not in known:
            notes.add(
                prefix + label, f"unknown field; expected one of {', '.join(known)}{did_you_mean(label, known)}", line
            )
        elif label in nodes:
            notes.add(prefix + label, f"given twice, first at line {notes.lines[prefix + label]}", line)
        else:
            notes.lines[prefix + label] = line
            nodes[label] = value
    return Fields(prefix=prefix, nodes=nodes, notes=notes)


def scalar(node: yaml.Node, expected: str = "a single value") -> str:
    """Read the text of a single value, as it was written."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        raise ValueError(f"expected {expected}; found {found(node)}")
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python"):
        raise ValueError(f"expected a value without a tag, found the tag {node.tag}")
    return str(node.value)


def items(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield the items of a list, or the single value that stands for a list of one."""
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    else:
        yield node


def whole_number(least: int, most: int) -> Read[int]:
    """Return a reader of whole numbers between two bounds, written in digits and not in quotes."""

    def read(node: yaml.Node) -> int:
        text = scalar(node)
        plain = node.tag == "tag:yaml.org,2002:int" and text.isascii() and text.isdigit()
        if not plain or int(text[:20]) < least:
            raise ValueError(f"expected a whole number ≥ {least}, found {found(node)}")
        if len(text) > 19 or int(text) > most:
            raise ValueError(f"expected a whole number ≤ {most}, found {found(node)}")
        return int(text)

    return read


def found(node: yaml.Node | None) -> str:
    """Describe a node for a message."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        return "nothing"
    return f"the text {node.value!r}" if node.style in ("'", '"') else str(node.value)
