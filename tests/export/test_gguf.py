"""GGUF files: the adapter's equal in a real llama.cpp, quantised by llama.cpp's own rules, refused where they would not be equal."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune.base import DEMO, read_base
from finetune.data.render import Encoder
from finetune.deploy.llama import Files, Llama
from finetune.errors import ExportError
from finetune.export import REPORT, export
from finetune.export.gguf import MODEL, Quantisation, context_of, write_model
from finetune.export.gguf import run as run_steps
from finetune.export.gguf.converter import convert, gguf
from finetune.export.gguf.quantise import MIXES, format_of, quantise
from finetune.export.gguf.tokenizer import pretokenizer_name
from finetune.recipe import ModelSection
from finetune.run import Run

pytest.importorskip("xllamacpp")
TrainedRun = Callable[..., Run]


def read(run: Run, name: str) -> Any:
    return json.loads((run.export / name / REPORT).read_text())


def test_base_and_adapter_in_llama_cpp_are_the_adapters_equal(deployed_run: Run) -> None:
    report = read(deployed_run, "gguf-lora-f32")
    assert report["form"] == "gguf_lora" and report["base"] == "none" and report["passed"]
    assert report["kl"] < 1e-4 < report["effect"] / 100 and report["top1"] == 1.0
    assert report["greedy_equal"] == report["greedy_prompts"] == 4 and report["tokens"] <= 24
    assert report["loss"]["exported"] == pytest.approx(report["loss"]["adapter"], abs=1e-2)
    assert report["gguf"] == {"type": "f32", "context": 2048} and report["infill"] is True


def test_the_folder_holds_what_every_export_owes_and_what_each_client_wants(deployed_run: Run) -> None:
    folder = deployed_run.export / "gguf-lora-f32"
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    editors = {f"editors/{name}" for name in ("continue.yaml", "tabby-config.toml", "llm-vscode.json", "llm.nvim.lua", "llama.vim")}
    assert {"model.gguf", "adapter.gguf", "README.md", "LICENSE", "Modelfile", REPORT} | editors <= files.keys()
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o644}
    card = files["README.md"].read_text()
    assert "two GGUF files for llama.cpp" in card and "cut to the sliding window" in card
    assert not [name for name, path in files.items() if path.suffix != ".gguf" and str(deployed_run.folder) in path.read_text()]
    assert str(deployed_run.folder).encode() not in files["model.gguf"].read_bytes() + files["adapter.gguf"].read_bytes()


def metadata(path: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in gguf().GGUFReader(path).fields.items() if not name.startswith("GGUF.")}


def test_the_file_names_the_pretokeniser_the_stop_tokens_and_the_context(deployed_run: Run) -> None:
    found = metadata(deployed_run.export / "gguf-lora-f32" / MODEL)
    assert found["tokenizer.ggml.pre"] == "starcoder" and found["starcoder2.context_length"] == 2048
    tokens = found["tokenizer.ggml.tokens"]
    assert [tokens[found[f"tokenizer.ggml.{kind}_token_id"]] for kind in ("eos", "eot")] == ["<|endoftext|>", "<file_sep>"]


def test_the_context_ends_with_the_window_where_llama_cpp_has_none(tiny_base: Path) -> None:
    base = read_base(ModelSection(path=str(tiny_base)))
    assert (base.context_length, base.sliding_window, context_of(base)) == (512, 256, 256)


@pytest.mark.parametrize("kind", ["q8_0", "q4_k_m"])
def test_a_quantised_file_holds_the_same_weights_as_near_as_its_format_can(deployed_run: Run, kind: str, tmp_path: Path) -> None:
    source = deployed_run.export / "gguf-lora-f32" / MODEL
    quantise(Quantisation(source=source, target=tmp_path / MODEL, type=kind))
    module = gguf()
    before, after = (module.GGUFReader(path).tensors for path in (source, tmp_path / MODEL))
    assert [tensor.name for tensor in before] == [tensor.name for tensor in after]
    allowed = {"q8_0": 0.01, "q6_k": 0.03, "q5_k_m": 0.05, "q4_k_m": 0.1}[kind]
    for old, new in zip(before, after, strict=True):
        kept = module.quants.dequantize(new.data, new.tensor_type).astype(np.float64).ravel()
        was = old.data.astype(np.float64).ravel()
        assert np.linalg.norm(kept - was) <= allowed * np.linalg.norm(was), old.name
    formats = {tensor.name: tensor.tensor_type.name for tensor in after}
    assert formats["token_embd.weight"] == MIXES[kind].head and formats["blk.0.attn_norm.weight"] == "F32"
    assert metadata(tmp_path / MODEL)["general.file_type"] == module.LlamaFileType[MIXES[kind].file_type]


def test_pieces_on_several_cores_are_packed_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from finetune.deploy.llama import quantise_rows
    from finetune.export.gguf import quantise as module

    rows = np.random.default_rng(0).normal(size=(301, 512)).astype(np.float32)
    kinds = gguf().GGMLQuantizationType
    tensor = SimpleNamespace(data=rows, shape=(512, 301), tensor_type=kinds.F32)
    monkeypatch.setattr(module, "_AT_ONCE", 17 * 512)
    packed = module._packed(gguf(), tensor, kinds.Q4_K)
    assert np.array_equal(packed, quantise_rows(rows, int(kinds.Q4_K), row_bytes=512 // 256 * 144))


def test_formats_follow_llama_cpps_rules_for_a_model_of_thirty_blocks() -> None:
    mix = MIXES["q4_k_m"]

    def of(name: str, row: int = 3072, tied: bool = True) -> str:
        return format_of(name, row, mix=mix, blocks=30, tied=tied)

    careful = [block for block in range(30) if of(f"blk.{block}.ffn_down.weight") == "Q6_K"]
    assert careful == [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29]
    assert of("blk.9.attn_q.weight") == "Q4_K" and of("token_embd.weight") == "Q6_K" and of("token_embd.weight", tied=False) == "Q4_K"
    assert of("blk.9.attn_q.weight", row=96) == "Q5_0" and of("blk.9.attn_q.weight", row=100) == "F16"


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    description = json.loads((DEMO / "tokenizer.json").read_text())
    change(description)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(description))
    return path


def test_a_pretokeniser_is_named_only_when_it_does_what_the_name_says(tmp_path: Path) -> None:
    assert pretokenizer_name(DEMO / "tokenizer.json") == "starcoder"
    changes: list[Callable[[dict[str, Any]], None]] = [
        lambda t: t["pre_tokenizer"]["pretokenizers"].append({"type": "Whitespace"}),
        lambda t: t["pre_tokenizer"]["pretokenizers"][0].update(individual_digits=False),
        lambda t: t["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
        lambda t: t["pre_tokenizer"]["pretokenizers"][1].update(use_regex=False),
        lambda t: t.update(normalizer={"type": "NFC"}),
        lambda t: t["model"].update(ignore_merges=True),
    ]
    assert [pretokenizer_name(changed(tmp_path, change)) for change in changes] == [None] * len(changes)


def test_a_vocabulary_of_ones_own_without_a_step_for_digits_is_cut_as_gpt_2s(tmp_path: Path) -> None:
    for path in DEMO.iterdir():
        if path.suffix in (".json", ".safetensors") and path.name != "tokenizer.json":
            (tmp_path / path.name).symlink_to(path)
    changed(tmp_path, lambda t: t["pre_tokenizer"]["pretokenizers"].pop(0))
    base = read_base(ModelSection(path=str(tmp_path)))
    (tmp_path / "out").mkdir()
    task = write_model(tmp_path, tmp_path / "out", base, kind="f16", name="own")
    assert task.pre == "gpt-2"
    convert(task)
    encoder = Encoder(base.tokenizer, base.family)
    with Llama(Files(task.target), context=64) as engine:
        for text in (
            "x = 1234567 + 3.25e-10",
            "don't  we'LL\n\n\tself.returned_values  ",
            "  é世 != 'a'\r\n",
            "for i in range(100):\n    pass\n",
        ):
            assert engine.tokens(text) == encoder.text(text), text


def test_an_unknown_pretokeniser_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    for path in DEMO.iterdir():
        if path.suffix in (".json", ".safetensors"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "tokenizer.json").unlink()
    changed(tmp_path, lambda t: t["pre_tokenizer"]["pretokenizers"][0].update(individual_digits=False))
    (tmp_path / "out").mkdir()
    task = write_model(tmp_path, tmp_path / "out", read_base(ModelSection(path=str(tmp_path))), kind="f16", name="odd")
    with pytest.raises(ExportError, match="no name for this tokenizer's pre-tokeniser.*write export=merged"):
        convert(task)
    assert not list((tmp_path / "out").iterdir())


def test_an_adapter_that_is_more_than_a_sum_of_low_rank_is_refused(trained_run: TrainedRun, tmp_path: Path) -> None:
    from finetune.export.gguf.lora import _low_ranks
    from finetune.merge import read_adapter

    run = trained_run(tmp_path, adapter={"kind": "lora", "dora": True})
    with pytest.raises(ExportError, match="no plain sum of low rank.*write export=gguf, which merges it"):
        _low_ranks(read_adapter(run.adapter))


def test_several_forms_are_one_command_and_lie_side_by_side(trained_run: TrainedRun, tmp_path: Path) -> None:
    run = trained_run(tmp_path, export=["merged", "adapter"])
    assert [report.form for report in export(run.recipe)] == ["merged", "adapter"]
    assert sorted(path.name for path in run.export.iterdir()) == ["adapter", "merge_report.json", "merged"]
    twice = run.recipe.model_copy(update={"export": run.recipe.export[:1] * 2})
    with pytest.raises(ExportError, match="merged is named twice"):
        export(twice)


@pytest.mark.parametrize("kind", ["gguf", "gguf_lora"])
def test_without_room_for_the_file_beside_its_checkpoint_nothing_is_begun(
    trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    run = trained_run(tmp_path, export={"kind": kind, "type": "f32"})
    size = (Path(run.recipe.model.path) / "model.safetensors").stat().st_size
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=(16 << 20) + 4 * 320 * 4096 + size * 3 // 2))
    with pytest.raises(ExportError, match="GB needed; make room, or write runs=FOLDER on another disk"):
        export(run.recipe)
    assert not run.export.exists() and not [*run.folder.glob(".partial-*")]


def test_a_disk_that_fills_while_a_file_is_written_is_one_message(tiny_base: Path, tmp_path: Path) -> None:
    """A limit of the size of files stands for the disk: the weights' numbers stop being taken."""
    step = write_model(tiny_base, tmp_path, read_base(ModelSection(path=str(tiny_base))), kind="f32", name="tiny")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(ExportError, match="could not be written whole .*; free some room and type the same again"):
            run_steps([step], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_merged_file_of_four_bits_is_made_from_one_that_was_equal(trained_run: TrainedRun, tmp_path: Path) -> None:
    run = trained_run(tmp_path, model={"path": "demo"}, export={"kind": "gguf", "type": "q4_k_m", "verify_tokens": 48})
    (report,) = export(run.recipe)
    written = read(run, "gguf-q4_k_m")
    assert written["before_quantising"]["dtype"] == "f16" and written["before_quantising"]["kl"] < report.kl / 10
    linked = run.export / "gguf-q4_k_m" / "tabby" / "ggml" / "model-00001-of-00001.gguf"
    assert linked.resolve() == (run.export / "gguf-q4_k_m" / MODEL).resolve() and not linked.readlink().is_absolute()


PUBLISHED = os.environ.get("OCTOTUNE_STARCODER2_TOKENIZER", "")


@pytest.mark.skipif(not PUBLISHED, reason="OCTOTUNE_STARCODER2_TOKENIZER names no folder with StarCoder 2's tokenizer")
def test_starcoder_2s_own_vocabulary_converts_as_it_is(tmp_path: Path) -> None:
    import torch
    from transformers import Starcoder2Config, Starcoder2ForCausalLM

    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((Path(PUBLISHED) / name).read_bytes())
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    Starcoder2ForCausalLM(Starcoder2Config(vocab_size=49152, eos_token_id=0, bos_token_id=0, **sizes)).save_pretrained(tmp_path)
    (tmp_path / "out").mkdir()
    task = write_model(tmp_path, tmp_path / "out", read_base(ModelSection(path=str(tmp_path))), kind="f16", name="own")
    convert(task.model_copy(update={"pre": None}))  # known to the converter by sight
    assert metadata(tmp_path / "out" / MODEL)["tokenizer.ggml.pre"] == "starcoder"
