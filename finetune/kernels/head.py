"""What an output head multiplies by in a pass, and what of it trains. Shapes: V vocabulary, K rows of it that train, H hidden."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Head(NamedTuple):
    """The matrix of a head; what of it trains, None for nothing; and which rows these are, None for all."""

    weight_VH: Tensor
    trained_KH: Tensor | None = None
    rows_K: Tensor | None = None


def reader_of(layer: nn.Module) -> Callable[[], Head] | None:
    """What reads a head that is plain, has a trained copy (full) or trained rows (new tokens). None for others, and for one with a bias."""
    from peft.utils.other import TrainableTokensWrapper

    from finetune.methods.tuners.full import FullLayer

    base, read = layer, partial(_plain, layer)
    if isinstance(layer, FullLayer):
        base, read = layer.get_base_layer(), partial(_copied, layer)
    elif isinstance(layer, TrainableTokensWrapper):
        base, read = layer.original_module, partial(_with_rows, layer.token_adapter)
    return read if type(base) is nn.Linear and base.bias is None else None


def _plain(layer: Any) -> Head:
    weight_VH = layer.weight
    return Head(weight_VH, weight_VH if weight_VH.requires_grad else None)


def _copied(layer: Any) -> Head:
    name = layer.active_name()
    return _plain(layer.get_base_layer()) if name is None else Head(layer.full_weight[name], layer.full_weight[name])


def _with_rows(layer: Any) -> Head:
    if layer.disable_adapters or layer.merged:
        return _plain(layer.get_base_layer())
    (name,) = layer.active_adapters
    with torch.no_grad():
        merged_VH = layer.get_merged_weights([name])
    return Head(merged_VH, layer.trainable_tokens_delta[name], torch.tensor(layer.token_indices[name], device=merged_VH.device))
