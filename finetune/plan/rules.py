"""How a GPU's autocast differs from a CPU's, for a step on fake tensors of a CPU.

torch without CUDA can not run a fake step on a fake GPU. The operators are the same; what differs is the list of those that
autocast computes in float32 (torch's documentation of amp, "CUDA Ops that can autocast to float32").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

_NAMES = """
cosh cross_entropy cumprod cumsum exp expm1 group_norm kl_div l1_loss layer_norm log log10 log1p log2 log_softmax logsumexp mse_loss
nll_loss norm pow prod reciprocal renorm rms_norm rsqrt sinh smooth_l1_loss softmax softplus sum tan
"""
IN_FLOAT32 = frozenset(_NAMES.split())


class GpuAutocast(TorchFunctionMode):
    """Within the block, autocast on a CPU casts what it would cast on a GPU."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        if name in IN_FLOAT32 and torch.is_autocast_enabled("cpu"):
            args, kwargs = tree_map(_float32, (tuple(args), dict(kwargs or {})))
        return func(*args, **(kwargs or {}))


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64 else value
