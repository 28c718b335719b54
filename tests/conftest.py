"""What the tests share: a byte tokenizer, tiny models of random weights, git repositories made on the spot."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("steady", deadline=None)  # a busy machine is no failure
settings.load_profile("steady")

SENTINELS = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<repo_name>", "<file_sep>"]
Commit = tuple[str, Mapping[str, str | bytes | None]]
MakeRepository = Callable[[Sequence[Commit]], Path]


def write_byte_tokenizer(folder: Path, specials: Sequence[str]) -> None:
    """A tokenizer of one token a byte: `specials` first, then the 256 bytes, with StarCoder 2's pre-tokeniser."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": specials[0], "bos_token": specials[0]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[str]], Path]:
    """Makes a folder with a byte tokenizer that has the given sentinels, the first of them its eos token."""

    def make(specials: Sequence[str]) -> Path:
        folder = tmp_path_factory.mktemp("tokenizer")
        write_byte_tokenizer(folder, specials)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StarCoder 2 of 100k random weights with a byte tokenizer; its shape lets nf4 work (T4). Do not write into it."""
    import torch
    from transformers import Starcoder2Config, Starcoder2ForCausalLM

    folder = tmp_path_factory.mktemp("tiny_base")
    write_byte_tokenizer(folder, SENTINELS)
    torch.manual_seed(0)
    config = Starcoder2Config(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        sliding_window=256,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=4,
        initializer_range=0.05,
        tie_word_embeddings=True,
    )
    Starcoder2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def make_repository(tmp_path: Path) -> MakeRepository:
    """Makes a git repository from commits: (message, {path: text, bytes, or None to delete})."""

    def make(commits: Sequence[Commit], name: str = "project") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        _git(folder, "init", "-q", "-b", "main")
        for message, files in commits:
            for path, content in files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                match content:
                    case None:
                        target.unlink()
                    case bytes():
                        target.write_bytes(content)
                    case str():
                        target.write_bytes(content.encode())
            _git(folder, "add", "-A")
            _git(folder, "commit", "-q", "--allow-empty", "-m", message)
        return folder

    return make


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)
