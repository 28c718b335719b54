"""All rows of a batch, as few forward passes as peft allows: one, and one more for each adapter that can not share a batch (DoRA).

Legend: `B` rows, `V` vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from finetune.generate.rows import Engine, Rows

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class Lanes:
    """Rows in the order in which they were asked for, wherever they run. `seconds`: what the reading of the prompts took."""

    def __init__(self, engine: Engine, prompts: Sequence[Sequence[int]], adapters: Sequence[str]) -> None:
        started = time.monotonic()
        places: dict[str, list[int]] = {}
        for row, adapter in enumerate(adapters):
            places.setdefault(adapter if adapter in engine.alone else "", []).append(row)
        # Rows of one adapter beside each other.
        self._places = [sorted(rows, key=adapters.__getitem__) for rows in places.values()]
        self._lanes = [Rows(engine, _at(rows, prompts), _at(rows, adapters)) for rows in self._places]
        self.seconds = time.monotonic() - started

    def next_logits(self) -> Tensor:
        """The logits of each row's next token, B x V."""
        import torch

        places = [row for rows in self._places for row in rows]
        logits_BV = torch.cat([lane.next_logits_BV for lane in self._lanes]) if len(self._lanes) > 1 else self._lanes[0].next_logits_BV
        if places == sorted(places):
            return logits_BV
        return logits_BV[torch.tensor(places, device=logits_BV.device).argsort()]

    def advance(self, tokens: Sequence[int]) -> None:
        """Add one token to each row."""
        for rows, lane in zip(self._places, self._lanes, strict=True):
            lane.advance(_at(rows, tokens))

    def select(self, kept: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        places, lanes = [], []
        for rows, lane in zip(self._places, self._lanes, strict=True):
            left = [row for row in rows if row in kept]
            if left:
                lane.select([rows.index(row) for row in left])
                places.append([kept.index(row) for row in left])
                lanes.append(lane)
        self._places, self._lanes = places, lanes

    def costs(self, continuations: Sequence[Sequence[int]]) -> list[float]:
        """For each row, minus the log probability (nats) of a continuation; the rows stay where they are."""
        found: dict[int, float] = {}
        for rows, lane in zip(self._places, self._lanes, strict=True):
            found |= zip(rows, lane.costs(_at(rows, continuations)), strict=True)
        return [found[row] for row in range(len(continuations))]


def _at(rows: Sequence[int], values: Sequence[T]) -> list[T]:
    return [values[row] for row in rows]
