"""How a pass on a GPU differs from one on a CPU, for a step on fake tensors of a CPU.

torch without CUDA can not run a fake step on a fake GPU. The operators are the same but for two things: the list of those that
autocast computes in float32 (torch's documentation of amp, "CUDA Ops that can autocast to float32"), and dropout, which on a GPU
keeps a byte for each element, on a CPU a number as wide as the element. On a 3B shape without checkpointing that was 20 of 63 GB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

_NAMES = """
cosh cross_entropy cumprod cumsum exp expm1 group_norm kl_div l1_loss layer_norm log log10 log1p log2 log_softmax logsumexp mse_loss
nll_loss norm pow prod reciprocal renorm rms_norm rsqrt sinh smooth_l1_loss softmax softplus sum tan
"""
IN_FLOAT32 = frozenset(_NAMES.split())


class GpuAutocast(TorchFunctionMode):
    """Within the block, autocast on a CPU casts what it would cast on a GPU, and a dropout keeps what it would keep there."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is functional.dropout:
            return _dropout(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name in IN_FLOAT32 and torch.is_autocast_enabled("cpu"):
            args, kwargs = tree_map(_float32, (tuple(args), dict(kwargs or {})))
        return func(*args, **(kwargs or {}))


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64 else value


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """The operator that a GPU takes."""
    return torch.native_dropout(x, p, True)[0] if training and p else x
