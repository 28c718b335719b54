"""Where a hole begins and ends: lines, characters, or parts of the syntax.

line     the rest of a line, as an editor asks for it
block    a few whole lines
span     between any two characters, what the StarCoder models were pretrained with
syntax   a body, a block, an argument list or an expression (data/syntax.py)
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from finetune.data.miners import Miner
from finetune.data.syntax import KINDS, Kind, Span, spans
from finetune.records import FimSample, Form, Origin

Share = Annotated[float, Field(ge=0, le=1)]
Shape = Literal["line", "block", "span"]

_WRITTEN_LINE = re.compile(r"[^\r\n]*[^\s][^\r\n]*")


class Parts:
    """The parts of one file's syntax, looked for when they are first asked for; a window of the file is an offset and a length."""

    def __init__(self, text: str, language: str | None) -> None:
        self._text = text
        self._language = language

    @cached_property
    def _spans(self) -> Mapping[Kind, list[Span]]:
        return spans(self._text, self._language or "")

    def within(self, kind: Kind, begin: int, end: int) -> list[Span]:
        """The parts of a kind that lie in a window and leave something of it, as offsets into the window."""
        found = self._spans[kind]
        inside = found[bisect_left(found, (begin, 0)) : bisect_left(found, (end, 0))]
        return [(start - begin, stop - begin) for start, stop in inside if stop <= end and stop - start < end - begin]


class Window(NamedTuple):
    """A piece of a file, which begins at the character `begin` of the text that `parts` knows."""

    origin: Origin
    text: str
    begin: int
    parts: Parts


class HoleMiner(Miner):
    """A miner that makes holes: the shares of their shapes. What is left of 1 are spans."""

    line_share: Share = Field(0.0, description="share of holes that end with their line")
    block_share: Share = Field(0.0, description="share of holes of a few whole lines")
    syntax_share: Share = Field(0.0, description="share of holes that are a part of the syntax; the rest: between any two characters")
    syntax: tuple[Kind, ...] = Field(KINDS, min_length=1, description="which parts: each kind as often as the others")
    max_block_lines: Annotated[int, Field(ge=1)] = 8

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        if self.line_share + self.block_share + self.syntax_share > 1 + 1e-9:
            raise ValueError("line_share, block_share and syntax_share that add up to 1 or less")
        return self

    def cut_out(self, window: Window, form: Form, draws: random.Random) -> FimSample:
        """A window with a hole of one of the shapes."""
        start, end = self._span(window, draws)
        return FimSample(window.origin, window.text[:start], window.text[start:end], window.text[end:], form)

    def _span(self, window: Window, draws: random.Random) -> Span:
        shape = self._shape(draws)
        if shape == "syntax":
            found = self._part(draws, window)
            if found is not None:
                return found
            # No grammar for the language, or no whole part in this window: some lines.
            shape = "block"
        return hole(window.text, shape, draws=draws, max_lines=self.max_block_lines)

    def _shape(self, draws: random.Random) -> Shape | Literal["syntax"]:
        point = draws.random()
        if point < self.line_share:
            return "line"
        if point < self.line_share + self.block_share:
            return "block"
        return "syntax" if point < self.line_share + self.block_share + self.syntax_share else "span"

    def _part(self, draws: random.Random, window: Window) -> Span | None:
        """One of the parts in the window, each kind as often as the others: expressions outnumber bodies twenty to one."""
        for kind in draws.sample(self.syntax, len(self.syntax)):
            found = window.parts.within(kind, window.begin, window.begin + len(window.text))
            if found:
                return draws.choice(found)
        return None


def hole(text: str, shape: Shape, *, draws: random.Random, max_lines: int) -> Span:
    """Where the middle begins and ends, in characters. A text without a written line has spans alone."""
    lines = [] if shape == "span" else [match.span() for match in _WRITTEN_LINE.finditer(text)]
    if not lines:
        # Uniform over characters, both borders may be the same or at an end: what the StarCoder models were pretrained with.
        first, second = draws.randint(0, len(text)), draws.randint(0, len(text))
        return min(first, second), max(first, second)
    index = draws.randrange(len(lines))
    start, end = lines[index]
    indented, written = end - len(text[start:end].lstrip()), start + len(text[start:end].rstrip())
    if shape == "block":
        last = min(index + draws.randint(1, max_lines), len(lines)) - 1
        return indented, lines[last][1]
    # Half of the time the whole line is asked for, else what follows a character typed in it.
    return (indented if draws.random() < 0.5 else draws.randrange(indented, written)), end
