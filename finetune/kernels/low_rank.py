"""A frozen linear layer and its LoRA update as one operation: y = x W' + b + s drop(x) A' B'.

peft computes the update beside the layer's result, in float32 whatever the pass computes in, and multiplies and adds tensors as wide as
the layer; autograd keeps a dropped-out copy of x for each layer that reads it. Here the thin products alone are extra, x is kept as it is
and copied nowhere, and a dropout costs a random number for each element that it takes away, not for each that there is.
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

from finetune.kernels.passes import make_zero, places, without

_SURELY = 8  # standard deviations: more elements than that above their mean number are taken away once in 10^15 times


class _Setting(NamedTuple):
    """What an update is besides its tensors. `dropout` is 0 outside training; `keeps_weight` until the backward pass."""

    scaling: float
    dropout: float
    dtype: torch.dtype
    bias_O: Tensor | None
    state: Any
    keeps_weight: bool

    @property
    def grows(self) -> float:
        """What the update is multiplied by."""
        return self.scaling / (1 - self.dropout)


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
    """S: R and one more, for a column of ones that the bias goes by. torch would copy it to every token."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a_RI: Tensor, b_OR: Tensor, setting: _Setting) -> Tensor:
        dtype, rank = setting.dtype, len(a_RI)
        with torch.autocast(x.device.type, enabled=False):
            x_NI = x.to(dtype).flatten(0, -2).contiguous()
            weight_OI = _matrix(weight, setting)
            gone = _gone(x_NI.numel(), setting.dropout, x.device) if setting.dropout else None
            z_NS = x_NI.new_ones(len(x_NI), rank + (setting.bias_O is not None))
            with without(x_NI, gone):
                torch.mm(x_NI, a_RI.to(dtype).t(), out=z_NS[:, :rank])
            y_NO = torch.mm(x_NI, weight_OI.t())
            torch.addmm(
                y_NO, z_NS, _update(b_OR, setting, setting.bias_O), out=y_NO
            )  # in place, by the name that counts of operations know
        matrix = weight_OI if setting.state is not None and setting.keeps_weight else weight
        ctx.save_for_backward(x_NI, matrix, a_RI, b_OR, z_NS, gone)
        ctx.setting, ctx.shape, ctx.x_dtype = setting, x.shape, x.dtype
        return y_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_NI, matrix, a_RI, b_OR, z_NS, gone = ctx.saved_tensors
        setting: _Setting = ctx.setting
        gradient_NO = gradients[0].to(setting.dtype).flatten(0, -2)
        through_NR = gradient_NO @ _update(b_OR, setting).t()
        of_b_OR = (gradient_NO.t() @ z_NS[:, : len(a_RI)]).to(b_OR.dtype).mul_(setting.grows)
        with without(x_NI, gone):
            of_a_RI = (through_NR.t() @ x_NI).to(a_RI.dtype)
        of_x = None
        if ctx.needs_input_grad[0]:
            weight_OI = matrix if setting.state is not None and setting.keeps_weight else _matrix(matrix, setting)
            of_x_NI = through_NR @ a_RI.to(setting.dtype)
            if gone is not None:
                make_zero(of_x_NI, gone)
            torch.addmm(of_x_NI, gradient_NO, weight_OI, out=of_x_NI)
            of_x = of_x_NI.view(ctx.shape).to(ctx.x_dtype)
        return of_x, None, of_a_RI, of_b_OR, None


def _update(b_OR: Tensor, setting: _Setting, bias_O: Tensor | None = None) -> Tensor:
    """What the thin product is multiplied by: B' by its factor, RO, and below it the bias."""
    rows = [b_OR.t() * setting.grows] if bias_O is None else [b_OR.t() * setting.grows, bias_O.unsqueeze(0)]
    return torch.cat(rows).to(setting.dtype)


def _matrix(weight: Tensor, setting: _Setting) -> Tensor:
    """The layer's weight in the format of the pass, dequantised where it is in 4 bits."""
    if setting.state is None:
        return weight.to(setting.dtype)
    from bitsandbytes.functional import dequantize_4bit

    matrix: Tensor = dequantize_4bit(weight, setting.state)
    return matrix.to(setting.dtype)


def _gone(count: int, dropout: float, device: torch.device) -> Tensor:
    """Which of so many elements a dropout takes away: their places, in order, then `count` until the tensor is full.

    Each goes with the same probability, whatever becomes of the others: the distances from one to the next are then geometric.
    """
    mean = count * dropout
    most = math.ceil(mean + _SURELY * math.sqrt(mean * (1 - dropout))) + _SURELY
    logarithms = torch.rand(most, device=device).neg_().log1p_()
    found: Tensor = places(logarithms, math.log1p(-dropout), count)
    return found
