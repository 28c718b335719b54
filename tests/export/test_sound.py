"""What an exported folder must hold, and faults in it that are found."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import Exported, folder_of
from safetensors.torch import load_file, save_file

from finetune.base import read_base
from finetune.errors import ExportError
from finetune.export.checkpoint import check_sound
from finetune.export.verify.soundness import check_model
from finetune.merge import INDEX
from finetune.run import Run
from finetune.tokenizer_files import check_tokenizer

TrainedRun = Callable[..., Run]


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", {"rope_theta": 10000.0}, "rope_theta is 10000.0, which readers understand differently"),
        ("config.json", {"torch_dtype": "float16"}, "torch_dtype is 'float16'"),
        ("config.json", {"quantization_config": {}}, "quantization_config is {}"),
    ],
)
def test_what_an_old_reader_would_take_for_another_model_is_refused(
    plain: Exported, tmp_path: Path, file: str, change: dict[str, Any], said: str
) -> None:
    copy = copied(plain, tmp_path, file, change)
    with pytest.raises(ExportError, match=re.escape(said)):
        check_sound(copy, tied=set(), private=())


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("generation_config.json", {"eos_token_id": 0}, "<file_sep> does not end an answer"),
        ("config.json", {"tie_word_embeddings": False}, "input and output embedding should be one"),
    ],
)
def test_what_a_reader_must_find_is_looked_for_in_the_loaded_model(
    plain: Exported, tmp_path: Path, file: str, change: dict[str, Any], said: str
) -> None:
    from transformers import AutoModelForCausalLM

    run, _ = plain
    base = read_base(run.recipe.model)
    copy = copied(plain, tmp_path, file, change)
    check_model(AutoModelForCausalLM.from_pretrained(folder_of(run)), base, folder_of(run))
    with pytest.raises(ExportError, match=said):
        check_model(AutoModelForCausalLM.from_pretrained(copy), base, copy)
    with pytest.raises(ExportError, match="embeds 320 tokens, the base 321"):
        check_model(AutoModelForCausalLM.from_pretrained(folder_of(run)), replace(base, vocabulary_size=321), copy)


def test_a_sentinel_with_another_id_is_refused(plain: Exported, tmp_path: Path) -> None:
    run, _ = plain
    base = read_base(run.recipe.model)
    copy = copied(plain, tmp_path, "tokenizer_config.json", {})
    check_tokenizer(base, copy)
    text = (copy / "tokenizer.json").read_text()
    swapped = text.replace("<fim_prefix>", "<x>").replace("<fim_suffix>", "<fim_prefix>").replace("<x>", "<fim_suffix>")
    (copy / "tokenizer.json").write_text(swapped)
    with pytest.raises(ExportError, match="otherwise than training did"):
        check_tokenizer(base, copy)


def test_a_file_for_its_owner_alone_and_one_the_index_forgets_are_refused(plain: Exported, tmp_path: Path) -> None:
    copy = copied(plain, tmp_path, "config.json", {})
    check_sound(copy, tied=set(), private=())
    (copy / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": "model.safetensors"}}))
    with pytest.raises(ExportError, match="does not list the tensors of the files beside it"):
        check_sound(copy, tied=set(), private=())
    (copy / INDEX).unlink()
    (copy / "model.safetensors").chmod(0o600)
    with pytest.raises(ExportError, match=r"model.safetensors: not everybody may read it"):
        check_sound(copy, tied=set(), private=())
    with pytest.raises(ExportError, match=r"model.norm.weight has no place"):
        check_sound(copy, tied={"model.norm.weight"}, private=())


def test_a_folder_of_this_machine_and_a_leftover_of_training_are_refused(plain: Exported, tmp_path: Path) -> None:
    copy = copied(plain, tmp_path, "config.json", {"made_of": str(tmp_path / "base")})
    check_sound(copy, tied=set(), private=(tmp_path / "bas",))
    with pytest.raises(ExportError, match=f"config.json: would carry the path {tmp_path}/base to other machines"):
        check_sound(copy, tied=set(), private=(tmp_path / "base",))
    left = "model.layers.0.mlp.c_fc.lora_A.weight"
    save_file(load_file(copy / "model.safetensors") | {left: torch.ones(2, 2)}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExportError, match=f"{left} has no place in a merged checkpoint"):
        check_sound(copy, tied=set(), private=())


def copied(plain: Exported, tmp_path: Path, file: str, change: dict[str, Any]) -> Path:
    """The exported folder with some keys of a JSON file changed."""
    copy = tmp_path / "copy"
    shutil.copytree(folder_of(plain[0]), copy)
    (copy / file).write_text(json.dumps(json.loads((copy / file).read_text()) | change))
    return copy
