"""Changes of a file as numbered lines, which always give the new file back.

The old file is shown with a number before each line; the change names lines to take out and lines to put in:

      1 def area(w, h):        -   2     return w + h
      2     return w + h       +   2     return w * h
      3

`-   2 text` takes line 2 out and repeats it; `+   2 text` puts a line in behind line 2, whether that stays or goes, and behind line 0 at
the top. Every number is one of the old file, so insertions shift nothing, as they do in SantaCoder's form
(arXiv 2308.07124). A file's lines are what stands between its line feeds: a file that ends with one has an empty last line, an empty file
has one empty line, and a carriage return is a character like any other. Each line of a change ends with a line feed, so that an answer
which was cut short shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

from finetune.errors import DataError

_EDIT = re.compile(r"(?P<sign>[-+]) (?P<number> *[0-9]+) (?P<text>[^\n]*)")


class _Edit(NamedTuple):
    """One line of a change; `place` is where it stands in the change, from 1."""

    puts: bool
    number: int
    text: str
    place: int


def numbered(text: str) -> str:
    """The text with a number before each of its lines, as a model is asked."""
    return "\n".join(f"{number:3d} {line}" for number, line in enumerate(text.split("\n"), 1))


def diff(before: str, after: str) -> str:
    """The change from one text to the other; empty where there is none."""
    old, new = before.split("\n"), after.split("\n")
    edits: list[str] = []
    for tag, begin, end, first, last in SequenceMatcher(None, old, new).get_opcodes():
        if tag != "equal":
            edits += [f"- {number:3d} {old[number - 1]}\n" for number in range(begin + 1, end + 1)]
            edits += [f"+ {end:3d} {line}\n" for line in new[first:last]]
    return "".join(edits)


def apply(before: str, change: str) -> str:
    """The new text. Raises DataError when the change is not of this form, or is no change of this text: nothing is guessed."""
    old = before.split("\n")
    taken: set[int] = set()
    put: dict[int, list[str]] = {}
    last = (0, True)
    for edit in _edits(change):
        if not (0 if edit.puts else 1) <= edit.number <= len(old):
            raise _fault(edit.place, f"found line {edit.number}, but the file has the lines 1 to {len(old)}")
        here = (edit.number, edit.puts)
        if here < last or here == last == (edit.number, False):
            raise _fault(edit.place, f"found line {edit.number} again, or behind a later one; a line goes before others come")
        if edit.puts:
            put.setdefault(edit.number, []).append(edit.text)
        elif edit.text == old[edit.number - 1]:
            taken.add(edit.number)
        else:
            raise _fault(edit.place, f"line {edit.number} of the file is {old[edit.number - 1]!r}, found {edit.text!r}")
        last = here
    new = put.get(0, [])
    for number, line in enumerate(old, 1):
        new += ([] if number in taken else [line]) + put.get(number, [])
    if not new:
        raise DataError("line diff: takes every line out and puts none in; an empty file is one empty line")
    return "\n".join(new)


def _edits(change: str) -> Iterator[_Edit]:
    *lines, rest = change.split("\n")
    for place, line in enumerate(lines, 1):
        match = _EDIT.fullmatch(line)
        if match is None or match["number"] != f"{int(match['number']):3d}":
            raise _fault(place, f"found {line!r}; a line is a sign, a blank, a number of three places, a blank and the text")
        yield _Edit(match["sign"] == "+", int(match["number"]), match["text"], place)
    if rest:
        raise _fault(len(lines) + 1, f"found {rest!r} without a line end: the answer was cut short")


def _fault(place: int, found: str) -> DataError:
    return DataError(f"line diff, line {place}: {found}; ask again, or with more tokens")
