"""Fill-in-the-middle samples out of files.

A file is cut into windows first and each window is split then, so no middle is ever cut and every sample ends in a stop token. The other
order loses the end of most samples longer than a row.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from finetune.data.miners import MINERS, Bench, Miner
from finetune.errors import DataError
from finetune.hashing import generator
from finetune.records import FimSample, Form, Item, Origin, Sample, SourceFile

Share = Annotated[float, Field(ge=0, le=1)]
Shape = Literal["line", "block", "span"]

SENTINELS = 4  # prefix, suffix, middle, end
SPLIT_COST = (
    3  # tokens that splitting at two characters adds, on average; the one window in a hundred that turns out too long is cut in two
)
SMALLEST_ROOM = 16  # tokens
_WRITTEN_LINE = re.compile(r"[^\r\n]*[^\s][^\r\n]*")


@MINERS.register("fim")
class Fim(Miner):
    """Fill in the middle: a hole in each window of a file, half of them suffix first.

    A hole is drawn as editors ask for one (the rest of a line, a few whole lines), or between any two characters as in pretraining.
    """

    rate: Share = Field(0.9, description="share of windows with a hole; the others are plain text")
    spm_rate: Share = Field(0.5, description="share of holes written suffix first")
    # A span between two random characters is a third of a window long: a model tuned on nothing else learns to write much and stop late.
    line_share: Share = Field(0.3, description="share of holes that end with their line")
    block_share: Share = Field(0.2, description="share of holes of a few whole lines; the rest: between any two characters")
    max_block_lines: Annotated[int, Field(ge=1)] = 8

    @model_validator(mode="after")
    def _shares_add_up(self) -> Fim:
        if self.line_share + self.block_share > 1:
            raise ValueError("line_share and block_share that add up to 1 or less")
        return self

    def __call__(self, item: Item, bench: Bench) -> Sequence[Sample] | str:
        assert isinstance(item, SourceFile)
        if bench.encoder.family.fim is None and self.rate > 0:
            raise DataError(
                f"data.miners: fim has rate {self.rate}, but family {bench.encoder.family.name} has no fill-in-the-middle tokens; "
                "write {kind: fim, rate: 0} for plain text, or choose a base model that has them"
            )
        room = bench.row_length - SENTINELS - SPLIT_COST
        if room < SMALLEST_ROOM:
            least = SMALLEST_ROOM + SENTINELS + SPLIT_COST
            raise DataError(f"data.row_length: found {bench.row_length}; write {least} or more, a window must fit beside its sentinels")
        # A byte-level tokenizer never makes more tokens than there are bytes: small files need no counting.
        starts = bench.encoder.token_starts(item.text) if len(item.text.encode()) > room else range(len(item.text))
        cut = windows(item.text, starts=starts, room=room)
        return [self._sample(item.origin, text, _draws(bench, item.origin, str(index))) for index, text in enumerate(cut)] or "empty"

    def smaller(self, sample: Sample, bench: Bench) -> Sequence[Sample]:
        """The window in two, each with a hole of its own."""
        assert isinstance(sample, FimSample)
        return [self._sample(sample.origin, text, _draws(bench, sample.origin, text)) for text in two(sample.text)]

    def _sample(self, origin: Origin, text: str, draws: random.Random) -> FimSample:
        if draws.random() >= self.rate:
            return FimSample(origin, "", text, "", "plain")
        form: Form = "spm" if draws.random() < self.spm_rate else "psm"
        start, end = hole(text, self._shape(draws), draws=draws, max_lines=self.max_block_lines)
        return FimSample(origin, text[:start], text[start:end], text[end:], form)

    def _shape(self, draws: random.Random) -> Shape:
        point = draws.random()
        return "line" if point < self.line_share else "block" if point < self.line_share + self.block_share else "span"


def windows(text: str, *, starts: Sequence[int], room: int) -> Iterator[str]:
    """The text in pieces of at most `room` of its tokens, which begin at `starts` (in characters).

    Cut before a line where there is one to cut before, and never inside a character. A short end takes a quarter from the piece before it.
    """
    begin = 0
    while begin < len(text):
        first = bisect_left(starts, begin)
        left = len(starts) - first
        if left <= room:
            yield text[begin:]
            return
        take = room if left > room + room // 8 else room * 3 // 4
        begin, piece = _cut(text, begin, starts[first + take])
        yield piece


def _cut(text: str, begin: int, end: int) -> tuple[int, str]:
    line = text.rfind("\n", begin, end) + 1
    cut = line if line > begin else max(end, begin + 1)
    return cut, text[begin:cut]


def two(text: str) -> list[str]:
    """The text in two, before a line about three quarters in if there is one; nothing for a single character.

    Quarters fill what others leave of a row; two halves with their sentinels would not fit into one.
    """
    if len(text) < 2:
        return []
    near = len(text) * 3 // 4
    cut = text.rfind("\n", 0, near) + 1 or text.find("\n", near, len(text) - 1) + 1 or near
    return [text[:cut], text[cut:]]


def hole(text: str, shape: Shape, *, draws: random.Random, max_lines: int) -> tuple[int, int]:
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


def _draws(bench: Bench, origin: Origin, window: str) -> random.Random:
    return generator(bench.seed, origin.repo, origin.commit, origin.path, "fim", window)
