"""The trained weights as a folder that transformers 4.57 and 5 load alike, put in place file by file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from transformers import Starcoder2ForCausalLM

from finetune.demo.pretrain.tokenizer import CONTEXT, END, FIM_PAD, THETA

FILES = ("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json", "model.safetensors")


def export(model: Starcoder2ForCausalLM, tokenizer: Path, folder: Path) -> None:
    """Writes the model in bf16 with its tokenizer into `folder`; each file is whole before it takes its place."""
    staged = folder / ".partial-model"
    shutil.rmtree(staged, ignore_errors=True)
    model.bfloat16().save_pretrained(staged)
    _write_configs(model, staged)
    for name in FILES[:2]:
        shutil.copyfile(tokenizer / name, staged / name)
    for name in FILES:
        (staged / name).chmod(0o644)
        (staged / name).replace(folder / name)
    shutil.rmtree(staged)


def _write_configs(model: Starcoder2ForCausalLM, folder: Path) -> None:
    """Both spellings of the rotary base and of the type: transformers 4 reads one, transformers 5 the other."""
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "rope_theta": THETA,
        "rope_parameters": {"rope_theta": THETA, "rope_type": "default"},
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "sliding_window": None,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": FIM_PAD,
        "use_cache": True,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    generation = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": FIM_PAD}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
