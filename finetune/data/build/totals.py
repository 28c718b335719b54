"""The numbers of a build, added up shard by shard."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from finetune.data.build.account import Ledger
from finetune.data.build.teach import Source
from finetune.data.build.tools import SIDES
from finetune.data.decontaminate import REASON as BENCHMARK
from finetune.data.mine import Books
from finetune.data.report import NO_LICENCE, Tokens
from finetune.data.tables import Row
from finetune.data.tally import Tally
from finetune.records import Side


@dataclass(slots=True)
class Totals:
    """What report.json counts; the tallies hold numbers alone."""

    files: Tally = field(default_factory=Tally)
    changes: Tally = field(default_factory=Tally)
    lines: Tally = field(default_factory=Tally)
    instructions: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    samples: Counter[tuple[str, Side]] = field(default_factory=Counter)
    tokens: Counter[Side] = field(default_factory=Counter)
    learnt: Counter[Side] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    benchmarks: Counter[str] = field(default_factory=Counter)
    sides: Counter[Side] = field(default_factory=Counter)

    @property
    def items(self) -> Tally:
        """Files and changes together."""
        return self.files + self.changes

    def count(self, source: Source, ledger: Ledger) -> None:
        """Adds a shard's files or changes."""
        self.count_books(self.files if source == "files" else self.changes, ledger.account.books)
        self.count_samples(ledger.account.miners, ledger.places["stays"], ledger.sizes)

    def count_books(self, tally: Tally, books: Books) -> None:
        """Adds the numbers of books to a tally of this, and to those of the miners."""
        tally.count(books.tally)
        for miner, counted in books.gate.tallies.items():
            self.instructions[miner].count(counted)

    def count_samples(self, miners: Mapping[tuple[str, bool], int], stays: NDArray[np.bool_], sizes: NDArray[np.void]) -> None:
        """Adds samples, by miner and whether they are held out, and their tokens."""
        for side in SIDES:
            here = sizes[stays & (sizes["valid"] == (side == "valid"))]
            self.tokens[side] += int(here["tokens"].sum())
            self.learnt[side] += int(here["learnt"].sum())
        for (miner, valid), count in miners.items():
            self.samples[miner, "valid" if valid else "train"] += count

    def decide(self, row: Row) -> None:
        """Adds what a line of decisions.parquet says."""
        if row.reason == BENCHMARK:
            self.benchmarks[(row.detail or "").partition(": ")[0]] += 1  # the file of the benchmark
        if row.kind == "file" and row.reason is None:
            self.languages[row.language or ""] += 1
            self.licences[row.license or NO_LICENCE] += 1
            self.sides[row.side or "train"] += 1

    def by_side(self) -> dict[Side, int]:
        """Samples of each side."""
        return {side: sum(count for (_, own), count in self.samples.items() if own == side) for side in SIDES}

    def by_miner(self) -> dict[str, dict[Side, int]]:
        """Samples of each miner that made any, by side."""
        miners = sorted({miner for (miner, _), count in self.samples.items() if count})
        return {miner: {side: self.samples[miner, side] for side in SIDES} for miner in miners}

    def in_rows(self, rows: Mapping[Side, int], row_length: int | None) -> Tokens:
        """The tokens, and what is padding; rows of one sample are stored unpadded."""
        train = self.tokens["train"]
        capacity = train if row_length is None else rows["train"] * row_length
        return Tokens(train, self.tokens["valid"], self.learnt["train"], capacity - train, round(train / capacity, 4))
