"""bitsandbytes' rounding to 4 bits on a CPU: its very codes and scales, in a thirtieth of its time.

There bitsandbytes looks each number up among the borders by bisection, 34 ns a number; fifteen comparisons of sixteen numbers at a time
take about one (docs/benchmarks/merge.md). Where the two differ by a bit, in another version of it, bitsandbytes is asked.

Shapes: N scales, one for each block of numbers.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def quantise(rows: torch.Tensor, *, like: Any) -> tuple[torch.Tensor, Any]:
    """Codes and state as `bitsandbytes.functional.quantize_4bit` gives them, scales not yet rounded; `like`: the Params4bit."""
    from bitsandbytes import functional

    blocks, rest = divmod(rows.numel(), like.blocksize)
    if rows.device.type != "cpu" or rest or not blocks or not _equal_to_the_bit(like.quant_type, like.blocksize):
        found: tuple[torch.Tensor, Any] = functional.quantize_4bit(rows.contiguous(), blocksize=like.blocksize, quant_type=like.quant_type)
        return found
    table = functional.get_4bit_type(like.quant_type, device="cpu")
    codes, scales_N = _codes(rows, table, blocksize=like.blocksize)
    state = functional.QuantState(
        absmax=scales_N, shape=rows.shape, dtype=rows.dtype, blocksize=like.blocksize, code=table, quant_type=like.quant_type
    )
    return codes, state


def _codes(rows: torch.Tensor, table: torch.Tensor, *, blocksize: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two codes a byte, the first in its upper half, as numbers x 1; and the scales_N. `table`: the 16 values, rising."""
    import torch

    from finetune.merge.passes import bits, rank_blocks

    borders = (table[:-1] + table[1:]) / 2
    codes = torch.empty(rows.numel() // 2, 1, dtype=torch.uint8)
    scales_N = torch.empty(rows.numel() // blocksize)
    rank_blocks(bits(rows if rows.dtype is torch.bfloat16 else rows.float()), borders.numpy(), codes.view(-1).numpy(), scales_N.numpy())
    return codes, scales_N


@cache
def _equal_to_the_bit(quant_type: str, blocksize: int) -> bool:
    """Whether the installed bitsandbytes rounds as `_codes` does, on random numbers, on every border and on zeros."""
    import sys

    import torch
    from bitsandbytes import functional

    table = functional.get_4bit_type(quant_type, device="cpu")
    if sys.byteorder != "little" or not bool((table.diff() > 0).all()):
        return False
    borders = (table[:-1] + table[1:]) / 2
    ties = torch.zeros(4, blocksize)
    for row, scale in zip(ties, (1.0, 0.5, 3.0), strict=False):
        row[: len(borders)], row[len(borders)] = borders * scale, scale
    probe = torch.cat([ties, torch.randn(256, blocksize, generator=torch.Generator().manual_seed(0))])
    ours, scales_N = _codes(probe, table, blocksize=blocksize)
    theirs, state = functional.quantize_4bit(probe, blocksize=blocksize, quant_type=quant_type)
    return torch.equal(ours, theirs) and torch.equal(scales_N, state.absmax)
