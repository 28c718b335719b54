"""Samples read back from the stored rows, as text: what they say is what was tokenised, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from finetune.data.render import Encoder
from finetune.data.store import stream_rows
from finetune.data.tables import SAMPLES, SampleRow, read_table
from finetune.records import Side


class Segment(NamedTuple):
    """Text with its sentinels written out, that is tokenised apart from its neighbours."""

    text: str
    answer: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A sample as text and as the tokens it is stored as; `learnt` tells of each token whether it is; `opening` and `end` are what it
    begins with, nothing for most families, and what ends it."""

    row: SampleRow
    segments: Sequence[Segment]
    ids: Sequence[int]
    learnt: Sequence[bool]
    end: str
    opening: str = ""

    @property
    def halves(self) -> tuple[str, str]:
        """What stands before the first answer, and the rest."""
        first = next((index for index, segment in enumerate(self.segments) if segment.answer), len(self.segments))
        prompt, completion = self.segments[:first], self.segments[first:]
        return "".join(segment.text for segment in prompt), "".join(segment.text for segment in completion)

    @property
    def turns(self) -> list[str]:
        """Prompt and answer by turns, a prompt first, which is empty where the sample begins with an answer."""
        turns = [""]
        for segment in self.segments:
            if segment.answer == (len(turns) % 2 == 0):
                turns[-1] += segment.text
            else:
                turns.append(segment.text)
        return turns


def read_told(data: Path, side: Side, encoder: Encoder) -> Iterator[Told]:
    """The samples of one side of a dataset, in the order in which they lie in its rows."""
    rows = enumerate(stream_rows(data / side))
    number, place = -1, 0
    ids: list[int] = []
    learnt: list[bool] = []
    for sample in read_table(SampleRow, data / SAMPLES):
        if sample.side != side:
            continue
        while number < sample.row:
            number, (ids, learnt) = next(rows)
            place = 0
        end = place + sample.tokens
        segments, family = segments_of(ids[place:end], sample.marks, encoder), encoder.family
        yield Told(sample, segments, ids[place:end], learnt[place:end], family.end, family.opening or "")
        place = end


def segments_of(ids: Sequence[int], marks: Sequence[int], encoder: Encoder) -> list[Segment]:
    """The text of the tokens. A sentinel parts what stands at its sides, so that it belongs to either; text beside text is apart."""
    found: list[Segment] = []
    text_before = False
    for mark, following in pairwise([*marks, 2 * len(ids)]):
        start, answer, end = mark // 2, bool(mark % 2), following // 2
        if start == end:
            continue
        is_text = ids[start] not in encoder.sentinel_ids
        text = encoder.decode(ids[start:end])
        if found and found[-1].answer == answer and not (is_text and text_before):
            found[-1] = Segment(found[-1].text + text, answer)
        else:
            found.append(Segment(text, answer))
        text_before = is_text
    return found
