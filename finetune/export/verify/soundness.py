"""What a reader of the exported folder must find: the model and the tokenizer that were trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.base import BaseFolder
from finetune.errors import ExportError
from finetune.model import read_config
from finetune.tokenizer_files import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_model(model: PreTrainedModel, base: BaseFolder, folder: Path) -> None:
    """Raises ExportError unless the loaded checkpoint has the base's vocabulary, its tied or untied head, and stops where it must."""
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    if len(embedding.weight) != base.vocabulary_size or len(head.weight) != base.vocabulary_size:
        raise ExportError(
            f"{folder}: embeds {len(embedding.weight)} tokens, the base {base.vocabulary_size}; delete the folder and export again"
        )
    tied = bool(read_config(base).tie_word_embeddings)
    if (embedding.weight.data_ptr() == head.weight.data_ptr()) != tied:
        raise ExportError(f"{folder}: input and output embedding should be {'one' if tied else 'two'}; delete the folder and export again")
    stops = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends = {stops} if isinstance(stops, int) else {*(stops or ())}
    wanted = token_ids(base)
    missing = [token for token in base.family.stop if wanted[token] not in ends]
    if missing:
        raise ExportError(f"{folder}/generation_config.json: {missing[0]} does not end an answer; delete the folder and export again")
