"""How a step's memory grows with rows, tokens and blocks: a few rehearsals, carried on.

Every allocation of a step is the same operator at any size, and its size a polynomial: at most quadratic in the tokens T of a row, linear
in the rows B of a pass. Three lengths, or two numbers of rows, fix it for each allocation by itself. In the number of blocks each
stage's highest point is linear (Stage says why there are four), so that two depths are enough. (The places that a dropout of LoRA's on a
CPU takes away are no polynomial: off by less than one in a thousand.) What is not so is rehearsed with all
its blocks: a model whose blocks differ, or a method that treats them differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetune.base import BaseFolder
from finetune.errors import ModelError
from finetune.model import read_config
from finetune.plan.counter import Part, Sizes, Stage, Timeline
from finetune.plan.limits import Device
from finetune.plan.rehearsal import Rehearsal
from finetune.plan.stand_in import alike, depth
from finetune.recipe import Recipe

UNIT = 128  # tokens; lengths that are rehearsed are its multiples
SHALLOW = (2, 3)  # blocks that are rehearsed
Floats = NDArray[np.float64]


class Moment(NamedTuple):
    """A stage's highest point: bytes by part without what grows with T x T, that by itself, and the operator that allocated last."""

    stage: Stage
    parts: dict[Part, int]
    squared: int
    operator: str

    @property
    def size(self) -> int:
        return sum(self.parts.values()) + self.squared


class At(NamedTuple):
    """A step at one size: the highest point of each stage, and floating point operations of one pass over its rows."""

    moments: tuple[Moment, ...]
    flops: float

    @property
    def highest(self) -> Moment:
        return max(self.moments, key=lambda moment: moment.size)


class Highest(NamedTuple):
    """A stage's highest allocation at one depth: bytes by part, less what grows with T x T; that; the operator."""

    parts: Floats
    squared: float
    operator: str


@dataclass(frozen=True)
class Curve:
    """The timelines of one depth as polynomials in s = (x - start) / step, by forward differences; x is a length or a number of rows."""

    start: int
    step: int
    differences: Floats  # degree x allocations x parts
    flops: Floats
    stages: NDArray[np.int64]
    operators: tuple[str, ...]

    def highest(self, x: int) -> dict[Stage, Highest]:
        """Of each stage its highest allocation."""
        s = (x - self.start) / self.step
        whole = _newton(self.differences, s)
        squared = self.differences[2] / 2 * (x / self.step) ** 2 if len(self.differences) > 2 else np.zeros_like(whole)
        totals = whole.sum(axis=1)
        found = {}
        for stage in Stage:
            where = np.flatnonzero(self.stages == stage)
            if len(where):
                index = int(where[np.argmax(totals[where])])
                found[stage] = Highest(whole[index] - squared[index], float(squared[index].sum()), self.operators[index])
        return found

    def flops_at(self, x: int) -> float:
        """Floating point operations of one pass."""
        return float(_newton(self.flops, (x - self.start) / self.step))


class Growth:
    """A recipe's step on a device at any size; steps are rehearsed when a size asks for them."""

    def __init__(self, base: BaseFolder, recipe: Recipe, device: Device, *, whole: bool = False) -> None:
        config = read_config(base)
        self.layers = depth(config)
        shallow = not whole and self.layers > SHALLOW[-1] and alike(config)
        try:
            self._rehearsals = [Rehearsal(base, recipe, device, layers=each) for each in (SHALLOW if shallow else (None,))]
        except ModelError:  # the method asks for a block that is not among the first
            shallow = False
            self._rehearsals = [Rehearsal(base, recipe, device)]
        self._more = self.layers - SHALLOW[-1] if shallow else 0
        self._window = base.sliding_window
        self._curves: dict[tuple[str, int], list[Curve]] = {}

    def at(self, rows: int, row_length: int) -> At:
        """The step with B rows of T tokens, by its growth with T, which is another one beyond the model's window."""
        sizes = [(rows, times * UNIT) for times in (1, 2, 3)]
        beyond = self._window is not None and row_length > self._window
        return self._read(("beyond" if beyond else "rows", rows), sizes, row_length, start=UNIT, step=UNIT, beyond_window=beyond)

    def at_rows(self, rows: int, row_length: int) -> At:
        """The same, by its growth with B; a single row may take other operators than several."""
        if rows == 1:
            return self.only(1, row_length)
        return self._read(("length", row_length), [(2, row_length), (3, row_length)], rows, start=2, step=1)

    def only(self, rows: int, row_length: int) -> At:
        """The same, rehearsed at this very size."""
        return self._read((f"only {rows}", row_length), [(rows, row_length)], 0, start=0, step=1)

    def _read(
        self, key: tuple[str, int], sizes: Sequence[tuple[int, int]], x: int, *, start: int, step: int, beyond_window: bool | None = None
    ) -> At:
        if key not in self._curves:
            self._curves[key] = [
                _curve([rehearsal.step(*size, beyond_window=beyond_window) for size in sizes], start=start, step=step)
                for rehearsal in self._rehearsals
            ]
        curves = self._curves[key]
        low, high = curves[0].highest(x), curves[-1].highest(x)
        flops = [curve.flops_at(x) for curve in curves]
        return At(
            moments=tuple(_moment(stage, low[stage], high[stage], self._more) for stage in high if stage in low),
            flops=flops[-1] + self._more * (flops[-1] - flops[0]),
        )


def _curve(found: Sequence[Timeline], *, start: int, step: int) -> Curve:
    first = found[0]
    assert all(each.operators == first.operators for each in found), "the operators of a step depend on its size"
    return Curve(
        start=start,
        step=step,
        differences=_differences([each.rows() for each in found]),
        flops=_differences([np.array(each.flops) for each in found]),
        stages=np.array(first.stages),
        operators=tuple(first.operators),
    )


def _differences(values: Sequence[Sizes]) -> Floats:
    """Newton's forward differences of values at s = 0, 1, 2 ..."""
    table = [np.asarray(value, dtype=np.float64) for value in values]
    found = []
    while table:
        found.append(table[0])
        table = [after - before for before, after in pairwise(table)]
    return np.stack(found)


def _newton(differences: Floats, s: float) -> Floats:
    weights = (1.0, s, s * (s - 1) / 2)[: len(differences)]
    value: Floats = np.tensordot(np.array(weights), differences, axes=1)
    return value


def _moment(stage: Stage, low: Highest, high: Highest, more: int) -> Moment:
    parts = high.parts + more * (high.parts - low.parts)
    return Moment(
        stage, {part: round(parts[part]) for part in Part}, round(high.squared + more * (high.squared - low.squared)), high.operator
    )
