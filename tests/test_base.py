"""Base model folders: what is read, and each way in which one can be unusable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from finetune.base import locate, read_base
from finetune.errors import ModelError
from finetune.recipe import ModelSection


@pytest.fixture
def copy(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def test_a_base_knows_its_family_and_its_limits(tiny_base: Path) -> None:
    base = read_base(ModelSection(path=str(tiny_base)))
    assert (base.family.name, base.vocabulary_size, base.context_length, base.sliding_window) == ("starcoder2", 320, 512, 256)


def test_the_digest_changes_with_one_weight(copy: Path) -> None:
    before = read_base(ModelSection(path=str(copy))).digest
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert read_base(ModelSection(path=str(copy))).digest != before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelError, match=name if name.endswith("json") else "no weights"):
        read_base(ModelSection(path=str(copy)))


def test_a_torn_json_is_named_with_its_line(copy: Path) -> None:
    (copy / "config.json").write_text('{\n"model_type": ')
    with pytest.raises(ModelError, match=r"config.json:2: no valid JSON"):
        read_base(ModelSection(path=str(copy)))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", b"[1]", "not a mapping"),
        ("config.json", b"\xff\xfe", "no text"),
        ("tokenizer.json", b'{"model": {"vocab": [["a", 0.1]]}, "added_tokens": []}', "no vocabulary of byte-level BPE"),
    ],
)
def test_a_file_of_another_kind_is_named(copy: Path, name: str, content: bytes, words: str) -> None:
    (copy / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name}.*{words}"):
        read_base(ModelSection(path=str(copy)))


def test_a_tokenizer_of_another_model_is_refused(copy: Path) -> None:
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["stranger"] = 49151
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match="ids up to 49151 but the model embeds 320 tokens"):
        read_base(ModelSection(path=str(copy)))


def test_a_hub_id_is_found_in_the_cache_as_the_hubs_own_client_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, snapshot_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--org--small.model"
    newest, older = (cached / "snapshots" / (digit * 40) for digit in "ab")
    for folder in (newest, older):
        folder.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40)
    assert locate("org/small.model", None) == newest
    assert Path(snapshot_download("org/small.model", local_files_only=True, cache_dir=tmp_path)) == newest
    assert locate("org/small.model", "b" * 40) == older
    for name, revision in (("org/small.model", "v1"), ("org/other", None), ("org/../small", None), ("a/b/c", None)):
        with pytest.raises(ModelError, match="neither a folder nor a model in the local cache"):
            locate(name, revision)


def test_what_is_neither_a_folder_nor_cached_is_refused_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a folder nor a model in the local cache"):
        read_base(ModelSection(path="nobody/nothing"))
    with pytest.raises(ModelError, match="neither a folder nor a model in the local cache"):
        read_base(ModelSection(path=str(tmp_path / "gone")))
