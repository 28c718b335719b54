"""GELU in its form with a hyperbolic tangent, a pass forward and a pass backward: x / (1 + e^-u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finetune.kernels.passes import exponential, one_pass

_LINEAR, _CUBIC = np.float32(1.5957691216057308), np.float32(0.07135481627260025)
_ONE, _THREE = np.float32(1), np.float32(3)


@contextmanager
def gelu_kernels(model: nn.Module) -> Iterator[None]:
    """Within the block a model's activations of that form compute so."""
    from transformers.activations import GELUTanh

    activations: list[Any] = [module for module in model.modules() if type(module) is GELUTanh]
    for each in activations:
        each.forward = partial(_forward, each.forward)
    try:
        yield
    finally:
        for each in activations:
            del each.forward  # the class's own again


def _forward(original: Any, x: Tensor) -> Tensor:
    if x.dtype != torch.float32 or not x.is_contiguous():
        return original(x)  # type: ignore[no-any-return]
    y: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return y


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        y: Tensor = gelu(x)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        of_x: Tensor = gelu_backward(gradients[0].contiguous(), *ctx.saved_tensors)
        return of_x


@torch.library.custom_op("finetune::gelu", mutates_args=())
def gelu(x: Tensor) -> Tensor:
    """Of each element, which is float32."""
    y = torch.empty_like(x)
    _gelu(x.detach().view(-1).numpy(), y.view(-1).numpy())
    return y


@gelu.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("finetune::gelu_backward", mutates_args=())
def gelu_backward(gradient: Tensor, x: Tensor) -> Tensor:
    """The gradient to `x` by the gradient to its GELU."""
    of_x = torch.empty_like(x)
    _gelu_backward(*(each.detach().view(-1).numpy() for each in (gradient, x, of_x)))
    return of_x


@gelu_backward.register_fake
def _(gradient: Tensor, x: Tensor) -> Tensor:
    return torch.empty_like(x)


@one_pass
def _gelu(x: Any, y: Any) -> None:
    for index in range(x.size):
        value = x[index]
        y[index] = value / (_ONE + exponential(-value * (_LINEAR + _CUBIC * value * value)))


@one_pass
def _gelu_backward(gradient: Any, x: Any, of_x: Any) -> None:
    for index in range(x.size):
        value = x[index]
        square = value * value
        power = exponential(-value * (_LINEAR + _CUBIC * square))
        share = _ONE / (_ONE + power)
        slope = value * (_LINEAR + _THREE * _CUBIC * square)
        of_x[index] = gradient[index] * (share + slope * share * (power * share))
