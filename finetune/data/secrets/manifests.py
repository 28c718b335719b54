"""Which lines of a manifest are the data of a Kubernetes Secret: one walk over the lines, by how far they are indented."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# How far a line is indented, the dashes of the items it opens, and its key, or a bracket of JSON. A template's own line is none.
_ITEMS, _KEY = rb"(?P<items>(?:-(?:[ \t]++|(?=\r?$)))++)?+", rb"[\"']?(?P<key>[A-Za-z0-9._/-]{1,253})[\"']?[ \t]*+:(?=\s|\Z)"
_LINE = re.compile(rb"(?m)^(?P<indent>[ \t]*+)" + _ITEMS + rb"(?:" + _KEY + rb"|[{}](?![{}%])|(?(items)|(?!)))|^(?P<end>---)")
_SECRET = re.compile(rb"[ \t]*[\"']?Secret[\"']?[ \t]*,?[ \t]*(?:[ \t]#[^\n]*)?\r?$", re.MULTILINE)


@dataclass(slots=True)
class _Mapping:
    """Keys of one column; `key` is the one seen last, `data` where the lines below its `data` begin."""

    column: int
    parent: _Mapping | None
    key: bytes = b""
    secret: bool = False
    data: list[int] = field(default_factory=list)


@functools.lru_cache(maxsize=2)  # a text is read both with and without the escapes of links
def data_of_secrets(text: bytes) -> frozenset[int]:
    """Where the lines begin that stand right below the `data` of a Secret, by itself or in a list, in any order."""
    return frozenset(start for mapping in _mappings(text) if mapping.secret for start in mapping.data)


def _mappings(text: bytes) -> Iterator[_Mapping]:
    """Every mapping, once it has come to its end."""
    open_ones: list[_Mapping] = []
    for line in _LINE.finditer(text):
        column = len(line["indent"] or b"")
        # An item is a mapping of its own, and the list may have the column of the key that it belongs to.
        yield from _closed(open_ones, -1 if line["end"] else column)
        if line["key"]:
            column += len(line["items"] or b"")
            _enter(open_ones, line, column)
    yield from _closed(open_ones, -1)


def _closed(open_ones: list[_Mapping], column: int) -> Iterator[_Mapping]:
    """Those that are indented more than that."""
    while open_ones and open_ones[-1].column > column:
        yield open_ones.pop()


def _enter(open_ones: list[_Mapping], line: re.Match[bytes], column: int) -> None:
    parent = open_ones[-1] if open_ones else None
    if parent is None or parent.column < column:
        open_ones.append(_Mapping(column, parent))
    mapping = open_ones[-1]
    mapping.key = line["key"]
    if mapping.key == b"kind":
        mapping.secret = _SECRET.match(line.string, line.end()) is not None
    if mapping.parent is not None and mapping.parent.key == b"data" and not line["items"]:
        mapping.parent.data.append(line.start())
