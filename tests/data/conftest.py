"""Tokenizers, a base model's folder and recipes for the data stages, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from finetune.data.render import Encoder
from finetune.families import FAMILIES, Family

MakeTokenizer = Callable[[Sequence[str]], Path]
EncoderOf = Callable[[Family], Encoder]


@pytest.fixture(scope="session")
def encoder_of(byte_tokenizer: MakeTokenizer) -> EncoderOf:
    """An encoder of one token a byte for a family."""
    return lambda family: Encoder(byte_tokenizer(family.sentinels) / "tokenizer.json", family)


@pytest.fixture(scope="session")
def encoder(encoder_of: EncoderOf) -> Encoder:
    """StarCoder 2's sentinels, one token a byte."""
    return encoder_of(FAMILIES[0])


@pytest.fixture(scope="session")
def byte_base(byte_tokenizer: MakeTokenizer) -> Path:
    """A base model's folder as far as building data reads it: no weight is ever looked at."""
    folder = byte_tokenizer(FAMILIES[0].sentinels)
    (folder / "config.json").write_text(json.dumps({"model_type": "starcoder2", "vocab_size": 320, "max_position_embeddings": 8192}))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder
