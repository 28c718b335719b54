"""Attention of all samples of a pass in one call: torch's flash attention, which takes samples of any lengths and knows windows.

Needs a GPU of compute capability 8.0 (Ampere) or later and a 16-bit format. Shapes: N tokens of all rows, H heads (of keys: fewer), D
numbers of a head, S samples.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

_WIDEST = 256  # numbers of a head that the kernel takes
_HALF = (torch.float16, torch.bfloat16)


class Bounds(NamedTuple):
    """Where samples end, as the kernel wants it: running sums of their lengths, S + 1; and the length of the longest."""

    ends: Tensor
    longest: int


def bounds(lengths: list[int], device: torch.device) -> Bounds:
    """Of samples in their order."""
    ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return Bounds(ends.to(device), max(lengths))


@cache
def on_gpus() -> bool:
    """Whether this machine's GPU has the kernel; without one, whether a GPU that is planned for is taken to have it."""
    return _options() is not None and (not torch.cuda.is_available() or torch.cuda.get_device_capability() >= (8, 0))


def takes(width: int, dtype: torch.dtype) -> bool:
    """Whether the kernel takes heads of so many numbers in such a format."""
    return dtype in _HALF and width <= _WIDEST and width % 8 == 0


def attend(query_NHD: Tensor, key_NHD: Tensor, value_NHD: Tensor, within: Bounds, *, window: int | None, scale: float | None) -> Tensor:
    """Causal attention within samples, NHD; `window`: how many tokens back a token sees, itself included."""
    from torch.nn.attention.varlen import varlen_attn

    call: Any = varlen_attn
    back = -1 if window is None or window >= within.longest else window - 1
    shared = query_NHD.shape[1] != key_NHD.shape[1]
    options = {"enable_gqa": True} if shared and "enable_gqa" in (_options() or ()) else {}
    out: Tensor = call(
        query_NHD,
        key_NHD,
        value_NHD,
        within.ends,
        within.ends,
        within.longest,
        within.longest,
        scale=scale,
        window_size=(back, 0),
        **options,
    )
    return out


@cache
def _options() -> frozenset[str] | None:
    """What this torch's kernel can be told by name; None where there is no kernel that knows windows (before torch 2.11)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = frozenset(inspect.signature(varlen_attn).parameters)
    return known if "window_size" in known else None
