"""Passes over memory of which torch makes several, compiled by numba; the compiler's result is kept on disk. For tensors on a CPU.

Each is an operator of torch's, so that a rehearsal can count it on tensors without memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from finetune.compiled import F, compiled


def one_pass(function: F) -> F:
    """The function, compiled. Division is IEEE's, and a product may be added to without being rounded before."""
    return compiled(function, error_model="numpy", fastmath={"contract"})


_LEAST, _MOST, _HALF, _ONE = (np.float32(each) for each in (-87, 88, 0.5, 1))  # e to these is a normal number
_PER_LN_2, _LN_2_HIGH, _LN_2_LOW = (np.float32(each) for each in (1.4426950408889634, 0.693359375, -2.1219444005469058e-4))
_SERIES = tuple(np.float32(1 / math.factorial(each)) for each in (7, 6, 5, 4, 3, 2))
_BIAS, _SHIFT = np.int32(127), np.int32(23)  # of float32's exponent


@numba.njit(inline="always", error_model="numpy", fastmath={"contract"})
def exponential(x: Any) -> Any:
    """e^x of a float32 to 2 units in the last place, in operations that are made several at once; beyond -87 and 88 as there."""
    x = min(max(x, _LEAST), _MOST)
    power = np.floor(x * _PER_LN_2 + _HALF)
    rest = x - power * _LN_2_HIGH - power * _LN_2_LOW
    total = _SERIES[0]
    for index in range(1, 6):
        total = total * rest + _SERIES[index]
    total = total * rest * rest + rest + _ONE
    return total * np.int32((np.int32(power) + _BIAS) << _SHIFT).view(np.float32)


@contextmanager
def without(x: Tensor, places: Tensor | None) -> Iterator[None]:
    """Within the block the elements of a contiguous `x` at `places` are zero; None, and places beyond the last element: none."""
    if places is None:
        yield
        return
    kept = _put_aside(x, places)
    try:
        yield
    finally:
        _put_back(x, places, kept)


# Whoever saved `x` for the backward pass finds it as it was, so it is not said to be written to: autograd would refuse it.
@torch.library.custom_op("finetune::put_aside", mutates_args=())
def _put_aside(x: Tensor, places: Tensor) -> Tensor:
    kept = x.new_empty(places.shape)
    _swap_for_zero(_bits(x), places.numpy(), _bits(kept))
    return kept


@_put_aside.register_fake
def _(x: Tensor, places: Tensor) -> Tensor:
    return x.new_empty(places.shape)


@torch.library.custom_op("finetune::put_back", mutates_args=())
def _put_back(x: Tensor, places: Tensor, kept: Tensor) -> None:
    _fill(_bits(x), places.numpy(), _bits(kept))


@_put_back.register_fake
def _(x: Tensor, places: Tensor, kept: Tensor) -> None:
    return None


@torch.library.custom_op("finetune::make_zero", mutates_args=("x",))
def make_zero(x: Tensor, places: Tensor) -> None:
    """Makes the elements of a contiguous `x` at `places` zero; places beyond the last element are none."""
    _zero(_bits(x), places.numpy())


@make_zero.register_fake
def _(x: Tensor, places: Tensor) -> None:
    return None


@torch.library.custom_op("finetune::places", mutates_args=())
def places(gaps: Tensor, unit: float, count: int) -> Tensor:
    """Places that lie gap / unit, rounded down, elements apart, in order; `count` for those from there on."""
    found = torch.empty(gaps.shape, dtype=torch.int64)
    _sum_up(gaps.numpy(), 1 / unit, count, found.numpy())
    return found


@places.register_fake
def _(gaps: Tensor, unit: float, count: int) -> Tensor:
    return torch.empty(gaps.shape, dtype=torch.int64)


def _bits(x: Tensor) -> Any:
    """The memory of a tensor as whole numbers, whatever its format."""
    return x.detach().view(-1).view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]).numpy()


@one_pass
def _swap_for_zero(x: Any, places: Any, kept: Any) -> None:
    for number in range(places.size):
        place = places[number]
        if place >= x.size:
            break
        kept[number] = x[place]
        x[place] = 0


@one_pass
def _fill(x: Any, places: Any, kept: Any) -> None:
    for number in range(places.size):
        place = places[number]
        if place >= x.size:
            break
        x[place] = kept[number]


@one_pass
def _zero(x: Any, places: Any) -> None:
    for place in places:
        if place >= x.size:
            break
        x[place] = 0


@one_pass
def _sum_up(gaps: Any, per_unit: float, count: int, found: Any) -> None:
    at = np.int64(-1)
    for number in range(gaps.size):
        at += np.int64(gaps[number] * per_unit) + 1
        found[number] = min(at, np.int64(count))
