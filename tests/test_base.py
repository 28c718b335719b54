"""Base model folders: what is read, and each way in which one can be unusable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from finetune.__main__ import main
from finetune.base import locate, read_base, require_weights, weight_files
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


def digest_with_eos(copy: Path, eos: str, **values: str) -> str:
    (copy / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos}))
    return read_base(ModelSection(path=str(copy), **values)).digest


def test_the_digest_changes_with_the_end_that_only_the_tokenizer_s_configuration_names(copy: Path) -> None:
    """Samples of a model without a family of its own end in it. What config.json says too is part of the digest already."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"eos_token_id": 0}))
    ends = ["<|endoftext|>", "<fim_pad>", "<file_sep>"]
    of_family = {digest_with_eos(copy, eos) for eos in ends}
    (plain,) = of_family  # StarCoder 2's own end is that of its row
    assert digest_with_eos(copy, ends[0], family="none") == plain
    assert len({digest_with_eos(copy, eos, family="none") for eos in ends}) == 3
    (copy / "config.json").write_text(json.dumps(config | {"eos_token_id": [5, 0]}))
    assert digest_with_eos(copy, ends[0], family="none") == digest_with_eos(copy, ends[0]), "one of several ends is said too"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelError, match=name if name.endswith("json") else "no weights"):
        require_weights(read_base(ModelSection(path=str(copy))).path)


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


SHARDS = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}


def spoilt(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    match how:
        case "one of two shards":
            weights.rename(folder / "model-00001-of-00002.safetensors")
            (folder / "model.safetensors.index.json").write_text(json.dumps(SHARDS))
        case "a pointer in place of the weights":
            weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
        case "half a file":
            weights.write_bytes(weights.read_bytes()[:-1000])
        case "a pickle":
            weights.rename(folder / "pytorch_model.bin")
        case "a GGUF file":
            weights.rename(folder / "model-q4_k_m.gguf")
        case "an index without a map":
            weights.rename(folder / "model-00001-of-00002.safetensors")
            (folder / "model.safetensors.index.json").write_text('{"metadata": {}}')
        case "a head without places":
            weights.write_bytes((23).to_bytes(8, "little") + b'{"a": {"dtype": "F32"}}')
        case "weights of another layout":
            weights.rename(folder / "consolidated.safetensors")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("one of two shards", "1 of 2 weight files are missing, the first is model-00002-of-00002.safetensors; copy every file"),
        ("a pointer in place of the weights", r"model.safetensors: a Git LFS pointer .*; type git lfs pull there"),
        ("half a file", r"model.safetensors: [\d,]+ bytes of [\d,]+; copy the file again"),
        ("a pickle", "its weights are in pytorch_model.bin; write them as safetensors once: "),
        ("a GGUF file", "its weights are in model-q4_k_m.gguf, .*; write model.path of the model it was made from"),
        ("an index without a map", "model.safetensors.index.json: says no 'weight_map'; copy the file again"),
        ("a head without places", "model.safetensors: no safetensors file; copy the file again"),
        ("weights of another layout", "no model.safetensors and no model.safetensors.index.json"),
    ],
)
def test_weights_that_can_not_be_loaded_are_refused_before_a_build(copy: Path, how: str, said: str) -> None:
    spoilt(copy, how)
    with pytest.raises(ModelError, match=said):
        require_weights(copy)


def test_weights_that_are_there_in_a_second_layout_are_not_counted(copy: Path) -> None:
    before = read_base(ModelSection(path=str(copy))).digest
    shutil.copy(copy / "model.safetensors", copy / "consolidated.safetensors")
    assert [path.name for path in weight_files(copy)] == ["model.safetensors"]
    assert read_base(ModelSection(path=str(copy))).digest == before


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"model.gguf: a file; write the folder that holds config.json"):
        read_base(ModelSection(path=str(tmp_path / "model.gguf")))


def test_a_tokenizer_of_sentencepiece_alone_is_told_how_to_become_one(copy: Path) -> None:
    (copy / "tokenizer.json").rename(copy / "tokenizer.model")
    with pytest.raises(ModelError, match=r"no tokenizer.json beside tokenizer.model; write it once: "):
        read_base(ModelSection(path=str(copy)))


def test_a_plan_needs_no_weights(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "model.safetensors").unlink()
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"runs: {tmp_path / 'runs'}\nmodel: {{path: {copy}}}\ndata: {{row_length: 256}}\n")
    assert main(["check", str(recipe)]) == 2
    assert main(["plan", str(recipe), "--gpu", "24GiB"]) == 0
    assert "no weights" in capsys.readouterr().err
