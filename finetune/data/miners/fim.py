"""Fill-in-the-middle samples out of files.

A file is cut into windows first and each window is split then, so no middle is ever cut and every sample ends in a stop token. The other
order loses the end of most samples longer than a row.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from pydantic import Field

from finetune.data.miners import MINERS, Bench
from finetune.data.miners.holes import HoleMiner, Share, Window
from finetune.data.miners.windows import halves, windows_of
from finetune.data.notebooks import NOTEBOOK
from finetune.errors import DataError
from finetune.hashing import generator
from finetune.records import FimSample, Form, Item, Origin, Sample, SourceFile

SENTINELS = 4  # prefix, suffix, middle, end
SPLIT_COST = (
    3  # tokens that splitting at two characters adds, on average; the one window in a hundred that turns out too long is cut in two
)
SMALLEST_ROOM = 16  # tokens


@MINERS.register("fim")
class Fim(HoleMiner):
    """Fill in the middle: a hole in each window of a file, half of them suffix first.

    A hole is drawn as editors ask for one (the rest of a line, a few whole lines), as a part of the syntax, or between any two
    characters as in pretraining. Python, JavaScript, TypeScript, Java, Go, Rust, C and C++ have a syntax; elsewhere a few lines are
    taken instead.
    """

    rate: Share = Field(0.9, description="share of windows with a hole; the others are plain text")
    spm_rate: Share = Field(0.5, description="share of holes written suffix first, by a family that knows both orders")
    # A span between two random characters is a third of a window long: a model tuned on nothing else learns to write much and stop late.
    line_share: Share = Field(0.3, description="share of holes that end with their line")
    block_share: Share = Field(0.2, description="share of holes of a few whole lines")

    def __call__(self, item: Item, bench: Bench) -> Sequence[Sample] | str:
        assert isinstance(item, SourceFile)
        if item.language == NOTEBOOK and bench.encoder.jupyter is not None:
            return "notebook"  # for the miner `notebooks`; without tokens for its cells it is a script like any other
        if self.rate > 0:
            require_fim(bench, f"fim has rate {self.rate}", "{kind: fim, rate: 0}")
        around = SENTINELS + SPLIT_COST + (bench.encoder.family.opening is not None)
        room = bench.row_length - around
        if room < SMALLEST_ROOM:
            raise DataError(
                f"data.row_length: found {bench.row_length}; write {SMALLEST_ROOM + around} or more, a window must fit beside its sentinels"
            )
        cut = windows_of(item, bench.encoder, room=room)
        return [self.sample(window, draws_of(bench, window.origin, str(index))) for index, window in enumerate(cut)] or "empty"

    def smaller(self, sample: Sample, bench: Bench) -> Sequence[Sample]:
        """The window in two, each with a hole of its own."""
        assert isinstance(sample, FimSample)
        return [self.sample(window, draws_of(bench, window.origin, window.text)) for window in halves(sample.origin, sample.text)]

    def sample(self, window: Window, draws: random.Random) -> FimSample:
        """The window with a hole, or plain, as the rates and the draws have it."""
        if draws.random() >= self.rate:
            return FimSample(window.origin, "", window.text, "", "plain")
        form: Form = "spm" if draws.random() < self.spm_rate else "psm"
        return self.cut_out(window, form, draws)


def require_fim(bench: Bench, found: str, cure: str) -> None:
    """Raises DataError when the family has no fill-in-the-middle tokens: to leave out the holes that were asked for would be silence."""
    family = bench.encoder.family
    if family.fim is None:
        raise DataError(
            f"data.miners: {found}, but family {family.name} has no fill-in-the-middle tokens that are known here; "
            f"write {cure} for plain text, model.add_fim_tokens=true to add some, or choose a base model that has them"
        )


def draws_of(bench: Bench, origin: Origin, window: str) -> random.Random:
    """The draws of one window, named by its number or its text: the same whatever else is mined."""
    return generator(bench.seed, origin.repo, origin.commit, origin.path, "fim", window)
