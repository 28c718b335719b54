"""All rows of a batch, as few forward passes as peft allows: one, and one more for each adapter that can not share a batch (DoRA).

Legend: `B` rows, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from finetune.generate.rows import Engine, Rows

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class Lanes:
    """Rows in the order in which they were asked for, wherever they run."""

    def __init__(self, engine: Engine, prompts: Sequence[Sequence[int]], adapters: Sequence[str]) -> None:
        places: dict[str, list[int]] = {}
        for row, adapter in enumerate(adapters):
            places.setdefault(adapter if adapter in engine.alone else "", []).append(row)
        self._places = list(places.values())
        self._lanes = [Rows(engine, _at(rows, prompts), _at(rows, adapters)) for rows in self._places]

    def next_logits(self) -> Tensor:
        """The logits of each row's next token, B x V."""
        import torch

        order = torch.tensor([row for rows in self._places for row in rows]).argsort()
        return torch.cat([lane.next_logits_BV for lane in self._lanes])[order.to(self._lanes[0].next_logits_BV.device)]

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
