"""Passes over a piece of a tensor that torch makes in several, each with memory of its own; compiled by numba. On a CPU.

A product is rounded before it is added to, so that the bits are torch's own. Shapes: N numbers, S scales, one for each block of numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from finetune.compiled import compiled

_PIECE = 1 << 12  # numbers: 16 KB in float32, with a copy in a core's nearest cache
_SIZE, _ODD, _HALF, _16 = (np.uint32(each) for each in (0x7FFFFFFF, 1, 0x7FFF, 16))
_LEAST = np.float32(1e-38)

LARGEST = 0x7F7F7FFF  # the bits of the largest float32 that bfloat16 rounds to a finite number


def bits(tensor: torch.Tensor) -> Any:
    """The bits of bfloat16 or float32 numbers, in the tensor's own memory."""
    if tensor.dtype is torch.bfloat16:
        return tensor.contiguous().view(torch.int16).view(-1).numpy().view(np.uint16)
    return tensor.contiguous().view(-1).numpy().view(np.uint32)


@compiled
def add_scaled(weights_N: Any, delta_N: Any, scale: Any, out_N: Any) -> Any:
    """Bits of bfloat16 for `weights + scale x delta`, rounded once; gives the bits of the largest absolute sum. `delta` is written over."""
    wide = np.empty(_PIECE, np.uint32)
    largest = np.uint32(0)
    for start in range(0, weights_N.size, _PIECE):
        end = min(weights_N.size, start + _PIECE)
        _widen(weights_N[start:end], wide)
        _add(wide.view(np.float32), scale, delta_N[start:end])
        largest = max(largest, _round(delta_N[start:end].view(np.uint32), out_N[start:end]))
    return largest


@compiled
def rank_blocks(numbers_N: Any, borders: Any, codes: Any, scales_S: Any) -> None:
    """The largest absolute number of each block, and for each number over it how many of the 15 borders are below, two a byte.

    `numbers` are bits of bfloat16 or float32.
    """
    blocksize = numbers_N.size // scales_S.size
    wide, ranks = np.empty(max(_PIECE, blocksize), np.uint32), np.empty(max(_PIECE, blocksize), np.int32)
    values, largest = wide.view(np.float32), np.empty(1, np.uint32)
    step = max(_PIECE // blocksize, 1) * blocksize
    for start in range(0, numbers_N.size, step):
        end = min(numbers_N.size, start + step)
        _widen(numbers_N[start:end], wide)
        for block in range(0, end - start, blocksize):
            largest[0] = _largest(wide[block : block + blocksize])
            scale = largest.view(np.float32)[0]
            scales_S[(start + block) // blocksize] = scale
            _multiply(values[block : block + blocksize], np.float32(1) / max(scale, _LEAST))
        _rank(values[: end - start], borders, ranks)
        _pair(ranks, codes[start // 2 : end // 2])


@compiled
def _widen(bits: Any, wide: Any) -> None:
    """Bits of float32 for those of bfloat16, or for those of float32."""
    shift = np.uint32(32 - 8 * bits.itemsize)
    for place in range(bits.size):
        wide[place] = np.uint32(bits[place]) << shift


@compiled
def _add(weights: Any, scale: Any, delta: Any) -> None:
    for place in range(delta.size):
        delta[place] = weights[place] + scale * delta[place]


@compiled
def _round(wide: Any, out: Any) -> Any:
    """To the nearest bfloat16, a tie to the even one."""
    largest = np.uint32(0)
    for place in range(out.size):
        bits = wide[place]
        largest = max(largest, bits & _SIZE)
        out[place] = np.uint16((bits + _HALF + ((bits >> _16) & _ODD)) >> _16)
    return largest


@compiled
def _largest(wide: Any) -> Any:
    largest = np.uint32(0)
    for place in range(wide.size):
        largest = max(largest, wide[place] & _SIZE)
    return largest


@compiled
def _multiply(values: Any, by: Any) -> None:
    for place in range(values.size):
        values[place] *= by


@compiled
def _rank(values: Any, borders: Any, ranks: Any) -> None:
    b = (borders[0], borders[1], borders[2], borders[3], borders[4], borders[5], borders[6], borders[7])
    c = (borders[8], borders[9], borders[10], borders[11], borders[12], borders[13], borders[14])
    for place in range(values.size):
        # written out, so that sixteen numbers are compared at a time
        value = values[place]
        low = (value > b[0]) + (value > b[1]) + (value > b[2]) + (value > b[3])
        low += (value > b[4]) + (value > b[5]) + (value > b[6]) + (value > b[7])
        high = (value > c[0]) + (value > c[1]) + (value > c[2]) + (value > c[3]) + (value > c[4]) + (value > c[5]) + (value > c[6])
        ranks[place] = np.int32(low + high)


@compiled
def _pair(ranks: Any, codes: Any) -> None:
    """The first of two in the upper half of the byte."""
    for place in range(codes.size):
        codes[place] = np.uint8((ranks[2 * place] << 4) | ranks[2 * place + 1])
