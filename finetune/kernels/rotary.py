"""Positions turned into queries and keys, a pass forward and a pass backward: each pair of numbers of a head is turned by an angle.

Shapes: B rows, T tokens, H heads, D numbers of a head, N tokens of all rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from finetune.kernels.passes import one_pass

_HOMES = {f"transformers.models.{name}.modeling_{name}" for name in ("starcoder2", "qwen2")}  # whose function is this one
_Both: TypeAlias = tuple[Tensor, Tensor]


@contextmanager
def rotary_kernels(model: nn.Module) -> Iterator[None]:
    """Within the block, attention of the architectures that were looked at computes so."""
    homes: list[Any] = [sys.modules[name] for name in sorted({type(module).__module__ for module in model.modules()} & _HOMES)]
    before = [home.apply_rotary_pos_emb for home in homes]
    for home, original in zip(homes, before, strict=True):
        home.apply_rotary_pos_emb = partial(_apply, original)
    try:
        yield
    finally:
        for home, original in zip(homes, before, strict=True):
            home.apply_rotary_pos_emb = original


def _apply(original: Callable[..., _Both], q_BHTD: Tensor, k_BHTD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor) -> _Both:
    if any(each.dtype != torch.float32 for each in (q_BHTD, k_BHTD, cos_BTD, sin_BTD)):
        return original(q_BHTD, k_BHTD, cos_BTD, sin_BTD)
    cos_BTD, sin_BTD = cos_BTD.contiguous(), sin_BTD.contiguous()
    return _Turn.apply(q_BHTD, cos_BTD, sin_BTD), _Turn.apply(k_BHTD, cos_BTD, sin_BTD)  # type: ignore[no-untyped-call]


class _Turn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BHTD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor) -> Tensor:
        ctx.save_for_backward(cos_BTD, sin_BTD)
        return _turned(x_BHTD, cos_BTD, sin_BTD, back=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _turned(gradients[0], *ctx.saved_tensors, back=True), None, None


def _turned(x_BHTD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor, *, back: bool) -> Tensor:
    out_BTHD: Tensor = turn(x_BHTD.transpose(1, 2).contiguous(), cos_BTD, sin_BTD, back)
    return out_BTHD.transpose(1, 2)


@torch.library.custom_op("finetune::turn", mutates_args=())
def turn(x_BTHD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor, back: bool) -> Tensor:
    """Number i of the first half of a head and number i of the second, turned by the angle of their token, or back by it.

    Cosines and sines of a token are there twice, for each half once; of one row they are those of all.
    """
    out_BTHD = torch.empty_like(x_BTHD)
    x_NHD, cos_ND, sin_ND, out_NHD = (each.detach().flatten(0, 1).numpy() for each in (x_BTHD, cos_BTD, sin_BTD, out_BTHD))
    _turn(x_NHD, cos_ND, sin_ND, out_NHD, np.float32(-1 if back else 1))
    return out_BTHD


@turn.register_fake
def _(x_BTHD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor, back: bool) -> Tensor:
    return torch.empty_like(x_BTHD)


@one_pass
def _turn(x_NHD: Any, cos_ND: Any, sin_ND: Any, out_NHD: Any, sign: Any) -> None:
    half = x_NHD.shape[2] // 2
    for token in range(x_NHD.shape[0]):
        cos, sin = cos_ND[token % len(cos_ND)], sin_ND[token % len(sin_ND)]
        for head in range(x_NHD.shape[1]):
            for index in range(half):
                first, second = x_NHD[token, head, index], x_NHD[token, head, index + half]
                across = sin[index] * sign
                out_NHD[token, head, index] = first * cos[index] - second * across
                out_NHD[token, head, index + half] = second * cos[index] + first * across
