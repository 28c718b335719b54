"""YAML as recipes use it: the values, the line of each key, and every fault in words of its own."""

from __future__ import annotations

import re
from typing import Any

import yaml

Key = tuple[str | int, ...]
_SIGNS = "quote what begins with one of * & ! @ % ` ="
_CURES = (
    ("\\t", "indent with spaces"),
    ("an alias", _SIGNS),
    ("an anchor", _SIGNS),
    ("undefined alias", _SIGNS),
    ("start any token", _SIGNS),
    ("constructor for the tag", _SIGNS),
    ("mapping values", "quote a value with ': ' in it"),
    ("escape", "write a backslash in single quotes"),
    ("end of stream", "close what is open"),
    ("stream end", "close what is open"),
)


class YamlFault(Exception):
    """What can not be read, and on which line (from 1)."""

    def __init__(self, problem: str, line: int = 1) -> None:
        super().__init__(problem)
        self.line = line


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 2e-4 as a number (YAML 1.1 asks for 2.0e-4, PyYAML gives a string)."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, IndexError) as error:  # 2026-02-30 looks like a day
            raise YamlFault(f"{node.value}: {error}; put it right, or quote it where it is a text", _line(node)) from error


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def read_yaml(text: str, at: Key = ()) -> tuple[Any, dict[Key, int]]:
    """The value of a YAML text and the line on which each key below `at` stands; None for an empty one. Raises YamlFault."""
    lines: dict[Key, int] = {}
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            _note_lines(node, at, lines, frozenset())
        return yaml.load(text, Loader=_Loader), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        said = f"{error.context} {error.problem}"
        cure = next((f"; {cure}" for sign, cure in _CURES if sign in said), "")
        raise YamlFault(f"no valid YAML: {error.problem}{cure}", line) from error
    except yaml.reader.ReaderError as error:
        found = text[error.position]
        what = "bytes that are no UTF-8" if "\udc80" <= found <= "\udcff" else f"the character U+{ord(found):04X}"  # as Python keeps them
        raise YamlFault(f"{what} can not stand in YAML; take them out", text.count("\n", 0, error.position) + 1) from error
    except RecursionError as error:
        raise YamlFault("nested more deeply than any recipe is; take brackets out") from error


def _note_lines(node: yaml.Node, key: Key, lines: dict[Key, int], above: frozenset[int]) -> None:
    if id(node) in above:
        raise YamlFault(f"{dotted(key)} stands in itself; write there what is meant, without an alias", _line(node))
    inside = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = (*key, str(name.value))
            line = _line(name)
            if inner in lines:
                raise YamlFault(f"{dotted(inner)} stands twice, first on line {lines[inner]}; keep one", line)
            lines[inner] = line
            _note_lines(value, inner, lines, inside)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*key, index)] = _line(value)
            _note_lines(value, (*key, index), lines, inside)


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def dotted(key: Key) -> str:
    """The key as it is typed: data.miners.0."""
    return ".".join(str(part) for part in key)
