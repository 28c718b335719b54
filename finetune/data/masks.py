"""Masks over paths, written as in .gitignore."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SPECIAL = re.compile(r"\*\*/|/\*\*$|\*+|\?|\[[!^]?\]?(?:\\.|[^\]\\])*\]|\\.|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Mask:
    """A list of patterns: the last one that fits a path decides, and `!pattern` takes paths out again.

        *.py        every Python file              docs/      everything below any folder docs
        /src/**     everything below src           src/*.py   Python files right in src
        !**/api/*   but not these

    A pattern that fits a folder fits everything below it; with a slash inside or in front it counts from the top. Case counts.
    """

    patterns: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def covers(self, path: str) -> bool:
        """Whether the mask takes in this path of a file."""
        return next((not negated for negated, look in reversed(_compiled(self.patterns)) if look.match(path)), False)


def fault_of(pattern: str) -> str | None:
    """What is wrong with a pattern, None when nothing is."""
    if not pattern.removeprefix("!").strip("/"):
        return "is empty; write a pattern such as docs/ or *.py"
    try:
        re.compile(_expression(pattern.removeprefix("!")))
    except re.error as error:
        return f"is no pattern ({error}); write brackets as in [a-z]"
    return None


@functools.lru_cache(maxsize=64)
def _compiled(patterns: Sequence[str]) -> tuple[tuple[bool, re.Pattern[str]], ...]:
    return tuple((pattern.startswith("!"), re.compile(_expression(pattern.removeprefix("!")), re.DOTALL)) for pattern in patterns)


def _expression(pattern: str) -> str:
    """The pattern as a regular expression that matches a file's whole path from its start."""
    folder_only = pattern.endswith("/")
    body = pattern.rstrip("/")
    anchored = "/" in body
    inner = "".join(_translated(_SPECIAL.findall(body.removeprefix("/"))))
    below = r"/.+\Z" if folder_only else r"(?:/.+)?\Z"
    return ("" if anchored else "(?:.*/)?") + inner + below


def _translated(pieces: Iterable[str]) -> Iterable[str]:
    for piece in pieces:
        if piece == "**/":
            yield "(?:.*/)?"
        elif piece == "/**":
            yield "/.+"
        elif piece.startswith("*"):
            yield "[^/]*"
        elif piece == "?":
            yield "[^/]"
        elif piece.startswith("[") and len(piece) > 1:
            yield "(?!/)[" + re.sub(r"^[!^]", "^", piece[1:-1]).replace("[", r"\[") + "]"
        else:
            yield re.escape(piece.removeprefix("\\") or piece)
