"""A model that turns a part of each head alone: every reader of an exported config.json is told how much."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from transformers import AutoConfig, GPTNeoXConfig, StableLmConfig

from finetune.base import read_base
from finetune.export.checkpoint import write_small_files
from finetune.recipe import ModelSection

TINY = {"vocab_size": 257, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (StableLmConfig(**TINY, partial_rotary_factor=0.5, rope_theta=5000.0), {"partial_rotary_factor": 0.5, "rope_theta": 5000.0}),
        (GPTNeoXConfig(**TINY, rotary_pct=0.5, rotary_emb_base=5000.0), {"rotary_pct": 0.5, "rotary_emb_base": 5000.0}),
    ],
    ids=["stablelm", "gpt_neox"],
)
def test_the_share_of_a_head_that_is_turned_is_said_in_the_words_of_transformers_4_too(
    config: StableLmConfig | GPTNeoXConfig, words: dict[str, float], byte_tokenizer: Callable[[Sequence[str]], Path], tmp_path: Path
) -> None:
    folder = byte_tokenizer(["</s>"])
    config.save_pretrained(folder)
    write_small_files(tmp_path, read_base(ModelSection(path=str(folder))), architecture="AnyForCausalLM", dtype="float32")
    written = json.loads((tmp_path / "config.json").read_text())
    assert {word: written.get(word) for word in words} == words
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == config.rope_parameters


def test_llama_cpps_converter_reads_gpt_neox(byte_tokenizer: Callable[[Sequence[str]], Path], tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    from finetune.export.gguf.converter import hyperparameters

    folder = byte_tokenizer(["</s>"])
    GPTNeoXConfig(**TINY, rotary_pct=0.5).save_pretrained(folder)
    write_small_files(tmp_path, read_base(ModelSection(path=str(folder))), architecture="GPTNeoXForCausalLM", dtype="float32")
    assert hyperparameters(tmp_path)["rotary_pct"] == 0.5
