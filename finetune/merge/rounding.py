"""Weights through bitsandbytes and back, some rows at a time: what a quantised base computes with.

Shapes: N scales, one for each 64 numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from finetune.merge.nf4 import quantise

if TYPE_CHECKING:
    import torch

Rows = Callable[[slice], "torch.Tensor"]

# Rows are taken in multiples of this: multiplication kernels then cut them as they would cut the whole matrix, so that the
# sums, and with them the bits, are the same (found with MKL on avx512; 341 rows at a time differ in the last bit).
_ROWS = 192
_LEAST = 48  # rows of the last slice: a row or two would go through other kernels
_NUMBERS = 1 << 20  # 4 MB in float32: stays in a processor's cache


def row_blocks(shape: tuple[int, ...], *, whole: bool) -> Iterator[slice]:
    """Slices of the first axis, of about one size, that fit the cache; all of it when `whole`."""
    rows = shape[0] if shape else 1
    step = max(1, _NUMBERS // max(1, math.prod(shape[1:])) // _ROWS)  # in units of _ROWS
    units = -(-rows // _ROWS)
    even = max(1, -(-units // -(-units // step))) * _ROWS if units else 1
    starts = [0] if whole else [*range(0, max(1, rows), even)]
    if len(starts) > 1 and rows - starts[-1] < _LEAST:
        starts.pop()
    return (slice(start, stop) for start, stop in zip(starts, [*starts[1:], rows], strict=True))


def there_and_back_4bit(read: Rows, blocks: list[slice], *, like: Any) -> Rows:
    """A reader of the rows as bitsandbytes gives them back; `like`: the Params4bit whose options count.

    Whole layers need 16 bytes a number on the way; here memory holds their 4-bit codes. The scales are rounded all together,
    since bitsandbytes takes their mean.
    """
    import torch
    from bitsandbytes import functional

    packed = [quantise(read(rows), like=like) for rows in blocks]
    if like.compress_statistics:
        # as in bitsandbytes' quantize_4bit and dequantize_4bit
        scales_N = torch.cat([state.absmax for _, state in packed])
        offset = scales_N.mean()
        rounded, second = functional.quantize_blockwise(scales_N - offset, blocksize=256)
        scales = functional.dequantize_blockwise(rounded, second).add_(offset).split([len(state.absmax) for _, state in packed])
        for (_, state), scales_of_rows in zip(packed, scales, strict=True):
            state.absmax = scales_of_rows
    by_start = {rows.start: part for rows, part in zip(blocks, packed, strict=True)}

    def give(rows: slice) -> torch.Tensor:
        codes, state = by_start[rows.start]
        weight: torch.Tensor = functional.dequantize_4bit(codes, state)
        return weight

    return give
