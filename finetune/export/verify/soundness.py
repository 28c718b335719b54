"""What a reader of the exported folder must find: the model and the tokenizer that were trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.base import BaseFolder
from finetune.errors import ExportError
from finetune.export.checkpoint import token_ids
from finetune.families import describe_tokenizer
from finetune.model import read_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TEXT = "def area(r):\n    return 3.14159 * r**2  # \u00e9\t\u4e16\u754c\r\n"


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


def check_tokenizer(base: BaseFolder, folder: Path) -> None:
    """AutoTokenizer on the export must give the ids that training used: sentinels and stop tokens, digits one by one, and what a text
    begins with when nobody says otherwise."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    sentinels = base.family.sentinels
    described = Tokenizer.from_str(json.dumps(describe_tokenizer(base.tokenizer, base.family)))
    wanted = described.encode(_TEXT + "".join(sentinels), add_special_tokens=False).ids
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = token_ids(base)
    opens = [] if base.family.opening is None else [ids[base.family.opening]]
    if (found := tokenizer(_TEXT)["input_ids"]) != (asked := opens + described.encode(_TEXT, add_special_tokens=False).ids):
        raise ExportError(
            f"{folder}: AutoTokenizer begins a text with {found[:2]} and ends it with {found[-1]}, training with {asked[:2]} and "
            f"{asked[-1]}; report this with the base model's name"
        )
    changed = [token for token in sentinels if tokenizer.convert_tokens_to_ids(token) != ids[token]]
    if changed or tokenizer(_TEXT + "".join(sentinels), add_special_tokens=False)["input_ids"] != wanted:
        what = f" ({changed[0]})" if changed else ""
        raise ExportError(
            f"{folder}: AutoTokenizer reads the exported tokenizer otherwise than training did{what}; "
            "report this with the base model's name"
        )
