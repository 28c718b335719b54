"""Bases of other families, whose tokenizers have no token but the end's; and runs on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune.recipe import Recipe, parse_recipe

ByteTokenizer = Callable[[Sequence[str]], Path]
SETTINGS = {
    "model.add_fim_tokens": "true",
    "model.dtype": "float32",
    "adapter.r": "4",
    "data.row_length": "128",
    "data.valid_share": "0.3",
    "data.miners": "[fim]",
    "train.batch_size": "2",
    "train.accumulation": "1",
    "train.learning_rate": "5e-3",
    "train.warmup_steps": "0",
    "train.max_steps": "6",
    "train.save_every": "2",
    "train.gradient_checkpointing": "false",
    "evaluate.holes": "[line]",
    "evaluate.items": "3",
    "evaluate.max_new_tokens": "8",
    "evaluate.resamples": "20",
    "export.dtype": "float32",
    "export.verify_tokens": "256",
}


@pytest.fixture(autouse=True, scope="session")
def tiny_matrices(one_thread: None) -> None:
    pass


def _save(folder: Path, kind: str, **shape: object) -> Path:
    """A model of random weights beside the tokenizer, and the licence that an export asks for."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    common = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.05}
    tokens = {"max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 0}
    auto: Any = AutoModelForCausalLM
    auto.from_config(AutoConfig.for_model(kind, **common, **tokens, **shape)).save_pretrained(folder)
    (folder / "LICENSE").write_text("Whoever reads this may use it.")
    return folder


@pytest.fixture(scope="session")
def tied(byte_tokenizer: ByteTokenizer) -> Path:
    """A Llama whose head is the embedding, with a row for each of its 257 tokens. Do not write into it."""
    return _save(byte_tokenizer(["</s>"]), "llama", vocab_size=257, num_key_value_heads=2, tie_word_embeddings=True)


@pytest.fixture(scope="session")
def untied(byte_tokenizer: ByteTokenizer) -> Path:
    """A Llama with a head of its own and 259 rows, of which two are spare. Do not write into it."""
    return _save(byte_tokenizer(["<|endoftext|>"]), "llama", vocab_size=259, num_key_value_heads=2, tie_word_embeddings=False)


@pytest.fixture(scope="session")
def neox(byte_tokenizer: ByteTokenizer) -> Path:
    """A GPT-NeoX, whose layers have names of their own. Do not write into it."""
    return _save(byte_tokenizer(["<|endoftext|>"]), "gpt_neox", vocab_size=257, tie_word_embeddings=False)


@pytest.fixture
def recipe_on(tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe on a base, and on this test's repositories."""

    def make(base: Path, *overrides: str, name: str = "run", repository: Path | None = None) -> Recipe:
        settings = {"model.path": str(base), "runs": str(tmp_path / "runs"), **SETTINGS}
        if repository is not None:
            settings["data.repositories"] = f"[{repository}]"
        return parse_recipe("", [*(f"{key}={value}" for key, value in settings.items()), *overrides], name=name)

    return make
