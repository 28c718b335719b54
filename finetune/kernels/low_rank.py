"""A frozen linear layer and its LoRA update as one operation: y = x W' + b + s drop(x) A' B'.

peft computes the update beside the layer's result, in float32 whatever the pass computes in, and multiplies and adds tensors as wide as
the layer; autograd keeps a dropped-out copy of x for each layer that reads it. Here the thin products alone are extra, x is kept as it is,
and a dropout costs a random number for each element that it takes away, not for each that there is.
Shapes: N tokens of all rows, I in, O out, R rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_SURELY = 8  # standard deviations: more elements than that above their mean number are taken away once in 10^15 times


class _Setting(NamedTuple):
    """What an update is besides its tensors. `dropout` is 0 outside training; `keeps_weight` until the backward pass."""

    scaling: float
    dropout: float
    dtype: torch.dtype
    bias_O: Tensor | None
    state: Any
    keeps_weight: bool


@contextmanager
def low_rank_kernels(model: nn.Module, *, checkpointing: bool) -> Iterator[None]:
    """Within the block, the layers of a model that hold one plain LoRA each compute so.

    `checkpointing`: blocks are computed again in the backward pass, so that a dequantised weight lives no longer than its block's pass.
    """
    from peft.tuners.lora import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer) and _is_plain(module)]
    for layer in layers:
        named: Any = layer
        named.forward = partial(_forward, named, named.forward, checkpointing)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own again


def _is_plain(layer: Any) -> bool:
    """One adapter, without relatives of LoRA, on a frozen linear layer that is in memory as a matrix or in 4 bits."""
    if len(layer.active_adapters) != 1 or layer.active_adapters[0] not in layer.lora_A or "forward" in vars(layer):
        return False
    name = layer.active_adapters[0]
    parts = (layer.lora_A[name], layer.lora_B[name])
    linear = all(type(part) is nn.Linear for part in parts) and parts[1].bias is None and not getattr(layer, "fan_in_fan_out", False)
    base = layer.get_base_layer()
    known = type(base) is nn.Linear or _is_4bit(base)
    return linear and known and not layer.lora_variant.get(name) and not base.weight.requires_grad and not layer.merged


def _is_4bit(base: nn.Module) -> bool:
    from bitsandbytes.nn.modules import Linear4bit

    return type(base) is Linear4bit


def _forward(layer: Any, original: Callable[..., Tensor], checkpointing: bool, x: Tensor, **options: Any) -> Tensor:
    base, name = layer.get_base_layer(), layer.active_adapters[0]
    state = None
    if _is_4bit(base):
        if not base.compute_type_is_set:
            base.set_compute_type(x)
            base.compute_type_is_set = True
        state = base.weight.quant_state
    dtype = _dtype(x, base, state)
    if dtype is None or layer.disable_adapters or options:
        return original(x, **options)
    dropout = layer.lora_dropout[name]
    share = dropout.p if isinstance(dropout, nn.Dropout) and layer.training else 0.0
    setting = _Setting(layer.scaling[name], share, dtype, base.bias, state, checkpointing)
    y: Tensor = _LowRank.apply(x, base.weight, layer.lora_A[name].weight, layer.lora_B[name].weight, setting)  # type: ignore[no-untyped-call]
    return y


def _dtype(x: Tensor, base: Any, state: Any) -> torch.dtype | None:
    """The one number format that layer and update compute in; None where they are two."""
    autocast = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else None
    if state is None:
        return autocast or (torch.float32 if x.dtype == base.weight.dtype == torch.float32 else None)
    compute: torch.dtype = base.compute_dtype or x.dtype
    return compute if compute in (autocast, torch.float32) else None


class _LowRank(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a_RI: Tensor, b_OR: Tensor, setting: _Setting) -> Tensor:
        dtype = setting.dtype
        with torch.autocast(x.device.type, enabled=False):
            x_NI = x.to(dtype).flatten(0, -2)
            weight_OI = _matrix(weight, setting)
            gone = _gone(x_NI.numel(), setting.dropout, x.device) if setting.dropout else None
            z_NR = _thinned(x_NI, gone) @ a_RI.to(dtype).t()
            bias_O = setting.bias_O
            y_NO = x_NI @ weight_OI.t() if bias_O is None else torch.addmm(bias_O.to(dtype), x_NI, weight_OI.t())
            torch.addmm(y_NO, z_NR, b_OR.to(dtype).t(), alpha=setting.scaling / (1 - setting.dropout), out=y_NO)
        matrix = weight_OI if setting.state is not None and setting.keeps_weight else weight
        ctx.save_for_backward(x_NI, matrix, a_RI, b_OR, z_NR, gone)
        ctx.setting, ctx.shape, ctx.x_dtype = setting, x.shape, x.dtype
        return y_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_NI, matrix, a_RI, b_OR, z_NR, gone = ctx.saved_tensors
        setting: _Setting = ctx.setting
        gradient_NO = gradients[0].to(setting.dtype).flatten(0, -2)
        scaling = setting.scaling / (1 - setting.dropout)
        through_NR = (gradient_NO @ b_OR.to(setting.dtype)).mul_(scaling)
        of_b_OR = (gradient_NO.t() @ z_NR).to(b_OR.dtype).mul_(scaling)
        of_a_RI = (through_NR.t() @ _thinned(x_NI, gone)).to(a_RI.dtype)
        of_x = None
        if ctx.needs_input_grad[0]:
            weight_OI = matrix if setting.state is not None and setting.keeps_weight else _matrix(matrix, setting)
            of_x_NI = _with_spare(x_NI.shape, gradient_NO)
            torch.mm(through_NR, a_RI.to(setting.dtype), out=of_x_NI)
            _take_away(of_x_NI, gone)
            torch.addmm(of_x_NI, gradient_NO, weight_OI, out=of_x_NI)  # in place, by the name that counts of operations know
            of_x = of_x_NI.view(ctx.shape).to(ctx.x_dtype)
        return of_x, None, of_a_RI, of_b_OR, None


def _matrix(weight: Tensor, setting: _Setting) -> Tensor:
    """The layer's weight in the format of the pass, dequantised where it is in 4 bits."""
    if setting.state is None:
        return weight.to(setting.dtype)
    from bitsandbytes.functional import dequantize_4bit

    matrix: Tensor = dequantize_4bit(weight, setting.state)
    return matrix.to(setting.dtype)


def _thinned(x: Tensor, gone: Tensor | None) -> Tensor:
    """A copy of `x` without some elements, or `x` where none are taken away."""
    if gone is None:
        return x
    thinned = _with_spare(x.shape, x)
    thinned.copy_(x)
    _take_away(thinned, gone)
    return thinned


def _with_spare(shape: torch.Size, like: Tensor) -> Tensor:
    """An empty tensor of a shape, in memory that has room for one element more."""
    return like.new_empty(shape.numel() + 1)[:-1].view(shape)


def _take_away(x: Tensor, gone: Tensor | None) -> None:
    """Make elements of `x`, which has one to spare, zero."""
    if gone is not None:
        x.as_strided((x.numel() + 1,), (1,)).index_fill_(0, gone, 0)


def _gone(count: int, dropout: float, device: torch.device) -> Tensor:
    """Which of so many elements a dropout takes away: their places, in order, then `count` until the tensor is full.

    Each goes with the same probability, whatever becomes of the others: the distances from one to the next are then geometric.
    """
    mean = count * dropout
    most = math.ceil(mean + _SURELY * math.sqrt(mean * (1 - dropout))) + _SURELY
    uniform = torch.rand(most, dtype=torch.float64, device=device)  # below 1
    distances = uniform.neg_().log1p_().div_(math.log1p(-dropout)).to(torch.int64)  # between them, not counting themselves
    places: Tensor = _running_sum(distances.add_(1))
    return places.sub_(1).clamp_(max=count)


@torch.library.custom_op("finetune::running_sum", mutates_args=())
def _running_sum(numbers: Tensor) -> Tensor:
    """`cumsum`, which on fake tensors is worked out by a square of the numbers: of long rows, more than can be counted."""
    return numbers.cumsum(0)


@_running_sum.register_fake
def _(numbers: Tensor) -> Tensor:
    return torch.empty_like(numbers)
