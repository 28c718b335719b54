"""bitsandbytes' rounding to 4 bits on a CPU: its very codes and scales, in a sixth of its time.

There bitsandbytes looks each number up among the borders by bisection, 34 ns a number; fifteen comparisons of a whole stretch take
less than 6 (benchmarks/merge_3b.py). Where the two differ by a bit, in another version of it, bitsandbytes is asked.

Shapes: N scales, one for each block of numbers.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_AT_ONCE = 1 << 18  # numbers: 1 MB in float32, with its codes in a core's own cache


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

    borders = ((table[:-1] + table[1:]) / 2).tolist()
    codes = torch.empty(rows.numel() // 2, 1, dtype=torch.uint8)
    scales_N = torch.empty(rows.numel() // blocksize)
    numbers, at_once = rows.reshape(-1), max(blocksize, _AT_ONCE // blocksize * blocksize)
    for start in range(0, len(numbers), at_once):
        end = min(start + at_once, len(numbers))
        values = numbers[start:end].float().view(-1, blocksize)
        scales = torch.amax(values.abs(), dim=-1, out=scales_N[start // blocksize : end // blocksize])
        scaled = (values * (1.0 / scales.clamp(min=1e-38)).view(-1, 1)).clamp_(-1, 1)
        pairs = _ranks(scaled.view(-1), borders).view(torch.int16)  # the first code of two is the lower byte
        codes[start // 2 : end // 2, 0] = ((pairs << 4) | (pairs >> 8)).to(torch.uint8)
    return codes, scales_N


def _ranks(numbers: torch.Tensor, borders: list[float]) -> torch.Tensor:
    """For each number how many borders are below it, as uint8."""
    import numpy as np
    import torch

    values = numbers.numpy()
    ranks, above = np.zeros(len(values), np.uint8), np.empty(len(values), np.bool_)
    for border in borders:  # numpy compares five times as fast as torch
        np.greater(values, np.float32(border), out=above)
        ranks += above.view(np.uint8)
    return torch.from_numpy(ranks)


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
