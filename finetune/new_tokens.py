"""Rows of the embeddings for tokens that a base does not know.

Shapes: V tokens of the base's vocabulary, H hidden size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.base import BaseFolder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_AT_ONCE = 4096  # rows that are held in float64: 200 MB at a hidden size of 6,144


def grow(model: PreTrainedModel, base: BaseFolder) -> None:
    """Give the model a row for each added token in the input embedding, and in the output head where that is a matrix of its own.

    A new row is the mean of the rows of all tokens the tokenizer had: then a new token's logit is the mean of the others', and what
    the base says of old tokens hardly moves (John Hewitt, Initializing New Word Embeddings for Pretrained Language Models, 2021).
    Equal rows part at the first step, since they stand in different places.
    """
    added = base.family.added
    if not added:
        return
    if base.vocabulary_size > model.get_input_embeddings().get_parameter("weight").shape[0]:
        model.resize_token_embeddings(base.vocabulary_size, mean_resizing=False)
    known = added[0].id
    layers: list[Any] = [model.get_input_embeddings(), model.get_output_embeddings()]
    for values in (layer.weight for layer in layers):
        values.data[known : known + len(added)] = mean_row(values.data[:known]).to(values)
    bias = getattr(layers[1], "bias", None)
    if bias is not None:
        bias.data[known : known + len(added)] = bias.data[:known].double().mean().to(bias)


def mean_row(rows_VH: torch.Tensor) -> torch.Tensor:
    """The mean of the rows, float64."""
    import torch

    total_H = torch.zeros(rows_VH.shape[1], dtype=torch.float64, device=rows_VH.device)
    for block in rows_VH.split(_AT_ONCE):
        total_H += block.double().sum(dim=0)
    return total_H / len(rows_VH)
