"""A frozen linear layer and its LoRA update as one operation: y = x W' + b + s drop(x) A' B'.

peft computes the update beside the layer's result, in float32 whatever the pass computes in, and multiplies and adds tensors as wide as
the layer; autograd keeps a dropped-out copy of x for each layer that reads it. Here the thin products alone are extra, x is kept as it is,
and a dropout costs two bytes of random numbers an element.
Shapes: N tokens of all rows, I in, O out, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_STEPS = 1 << 16  # values of the random numbers that dropouts are drawn from: two bytes


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
            kept_NI = _kept(x_NI, setting.dropout) if setting.dropout else None
            z_NR = _thinned(x_NI, kept_NI) @ a_RI.to(dtype).t()
            bias_O = setting.bias_O
            y_NO = x_NI @ weight_OI.t() if bias_O is None else torch.addmm(bias_O.to(dtype), x_NI, weight_OI.t())
            torch.addmm(y_NO, z_NR, b_OR.to(dtype).t(), alpha=setting.scaling / (1 - setting.dropout), out=y_NO)
        matrix = weight_OI if setting.state is not None and setting.keeps_weight else weight
        ctx.save_for_backward(x_NI, matrix, a_RI, b_OR, z_NR, kept_NI)
        ctx.setting, ctx.shape, ctx.x_dtype = setting, x.shape, x.dtype
        return y_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_NI, matrix, a_RI, b_OR, z_NR, kept_NI = ctx.saved_tensors
        setting: _Setting = ctx.setting
        gradient_NO = gradients[0].to(setting.dtype).flatten(0, -2)
        scaling = setting.scaling / (1 - setting.dropout)
        through_NR = (gradient_NO @ b_OR.to(setting.dtype)).mul_(scaling)
        of_b_OR = (gradient_NO.t() @ z_NR).to(b_OR.dtype).mul_(scaling)
        of_a_RI = (through_NR.t() @ _thinned(x_NI, kept_NI)).to(a_RI.dtype)
        of_x = None
        if ctx.needs_input_grad[0]:
            weight_OI = matrix if setting.state is not None and setting.keeps_weight else _matrix(matrix, setting)
            of_x_NI = through_NR @ a_RI.to(setting.dtype)
            if kept_NI is not None:
                of_x_NI.mul_(kept_NI)
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


def _thinned(x: Tensor, kept: Tensor | None) -> Tensor:
    return x if kept is None else x * kept


def _kept(x: Tensor, dropout: float) -> Tensor:
    """1 for an element that a dropout leaves, 0 for one that it takes away, in the format of `x`: masks of bits multiply four times slower.

    torch draws 4 or 8 bytes an element, one by one; this draws 8 for four elements, from the same generator.
    """
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    numbers = words.random_(torch.iinfo(torch.int64).min, None).view(torch.int16)[: x.numel()]
    return (numbers >= round(dropout * _STEPS) - _STEPS // 2).view(x.shape).to(x.dtype)
