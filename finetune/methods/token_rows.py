"""Rows of the embeddings that train beside an adapter: those of tokens that the base was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.errors import ModelError
from finetune.families import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def trained_rows(model: PreTrainedModel, family: Family) -> dict[str, list[int]] | None:
    """peft's `trainable_token_indices`: the ids of added tokens by the name of the layer, None where none was added.

    A head that shares the embedding's matrix follows it by itself. Raises ModelError for a head with a bias: peft leaves the bias
    out of a head some of whose rows it trains.
    """
    if not family.added:
        return None
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise ModelError(
            f"model.add_fim_tokens: the output head of this {model.config.model_type} model has a bias, and peft can not train rows of "
            "such a head; write adapter=full, or choose another base model"
        )
    tied = bool(model.config.tie_word_embeddings)
    layers = [name for name, module in model.named_modules() if module is embedding or (module is head and not tied)]
    return {name: [token.id for token in family.added] for name in layers}
