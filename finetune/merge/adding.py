"""What a merge mostly does, in one pass: a low-rank change added to rows of bfloat16 numbers, and rounded to them again. On a CPU.

Shapes: R rank, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from finetune.merge.changes import LowRank, fitting
from finetune.merge.reading import Room, Stored

if TYPE_CHECKING:
    import torch


class Rooms:
    """Memory of a merge that is used again: for what is read, for what is added to it, and for the sum."""

    def __init__(self) -> None:
        self.read, self.delta, self.sum = Room(), Room(), Room()


class Adding:
    """`change` x `strength` for a tensor of this shape; the numbers are those of `changes.apply`, to the bit."""

    def __init__(self, change: LowRank, tensors: Mapping[str, Stored], shape: tuple[int, ...], *, strength: float) -> None:
        fitting(change, tensors, shape)
        self._a, self._b = tensors[change.a], tensors[change.b]
        self._scale = change.scale * strength

    @cached_property
    def _a_RI(self) -> torch.Tensor:
        return self._a.read().float()

    def takes(self, weight_OI: torch.Tensor) -> bool:
        """Whether the rows are in the format that it adds to."""
        import torch

        return weight_OI.dtype is torch.bfloat16

    def __call__(self, weight_OI: torch.Tensor, rows: slice, rooms: Rooms) -> torch.Tensor | None:
        """The sums for the rows that `weight_OI` holds, in `rooms`; None where one is not finite."""
        import numpy as np
        import torch

        from finetune.merge.passes import LARGEST, add_scaled, bits

        shape = tuple(weight_OI.shape)
        delta_OI = torch.mm(self._b.read(rows).to(torch.float32), self._a_RI, out=rooms.delta.take(shape, torch.float32))
        sum_OI = rooms.sum.take(shape, torch.bfloat16)
        largest = add_scaled(bits(weight_OI), delta_OI.view(-1).numpy(), np.float32(self._scale), bits(sum_OI))
        return sum_OI if largest <= LARGEST else None
