"""An adapter exported for real: in a fresh process, with plain transformers, and refused when it is not what was trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from exported import Exported, folder_of, read, task
from safetensors.torch import load_file, save_file

from finetune.base import read_base
from finetune.errors import ExportError, ModelError
from finetune.export import export
from finetune.export.tolerance import tolerance
from finetune.export.tools import Workshop, require_room
from finetune.export.verify import measure
from finetune.exporters import Merged, MergeReport, Tools
from finetune.methods import BASE, check_adapter_base
from finetune.recipe import ModelSection
from finetune.run import Run

TrainedRun = Callable[..., Run]


@pytest.fixture(scope="module")
def nf4(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    run = trained_run(tmp_path_factory.mktemp("nf4"), model={"quantization": "nf4"})
    return run, export(run.recipe)[0]


def test_the_report_holds_what_others_rely_on(plain: Exported) -> None:
    run, report = plain
    written = read(run, "merge_report.json")
    assert {"base", "kl", "top1", "max_abs_logit_difference", "tolerance", "passed"} <= written.keys()
    assert written["kl"] == report.kl and written["passed"] is True and written["base"] == "original"
    assert 0 < report.kl < report.effect / 1000 and report.top1 > 0.9
    assert report.tokens == 4 * 48 and report.rows_from == "valid"
    assert report.loss.exported == pytest.approx(report.loss.adapter, abs=1e-3)
    assert abs(report.loss.base - report.loss.adapter) > 1e-3
    assert run.done("export")
    in_one_place = json.loads((run.export / "merge_report.json").read_text())
    assert in_one_place == {**written, "exports": {folder_of(run).name: written}}


def test_the_folder_loads_in_transformers_unedited_and_says_the_same(plain: Exported) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run, _ = plain
    model = AutoModelForCausalLM.from_pretrained(folder_of(run), local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder_of(run), local_files_only=True)
    assert model.dtype == torch.bfloat16 and model.config.rope_parameters["rope_theta"] == 100000.0
    assert "Digits" in tokenizer.backend_tokenizer.to_str()
    assert model.generation_config.eos_token_id == [0, 6] and model.generation_config.pad_token_id == 4


def test_old_and_new_readers_find_the_same_keys(plain: Exported) -> None:
    run, _ = plain
    config = read(run, "config.json")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 100000.0
    assert config["torch_dtype"] == config["dtype"] == "bfloat16"
    assert config["architectures"] == ["Starcoder2ForCausalLM"] and config["tie_word_embeddings"] is True
    assert config["sliding_window"] == 256 and "quantization_config" not in config
    tokenizer = read(run, "tokenizer_config.json")
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast" and "extra_special_tokens" not in tokenizer
    assert (folder_of(run) / "tokenizer.json").read_bytes() == (Path(run.recipe.model.path) / "tokenizer.json").read_bytes()


def test_everything_can_be_read_by_others_and_nothing_tells_where_it_was_made(plain: Exported) -> None:
    run, _ = plain
    files = sorted(path for path in folder_of(run).rglob("*") if path.is_file())
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}
    texts = [file.read_text() for file in files if file.suffix != ".safetensors"]
    assert not [text for text in texts if str(run.folder) in text or run.recipe.model.path in text]
    tensors = load_file(folder_of(run) / "model.safetensors")
    assert "lm_head.weight" not in tensors and "model.embed_tokens.weight" in tensors
    assert not [name for name in tensors if "lora" in name or "base_layer" in name]
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".partial-")]


def test_an_adapter_of_a_4_bit_base_goes_into_the_dequantised_base(nf4: Exported) -> None:
    run, report = nf4
    assert report.base == "dequantized" and report.kl < report.effect / 1000
    assert read(run, "merge_report.json")["weights"]["quantised"] == 12
    assert "quantization_config" not in read(run, "config.json")


def test_the_other_base_is_measured_beside_it_and_is_further_away(nf4: Exported) -> None:
    run, report = nf4
    assert report.other is not None and report.other.base == "original"
    assert report.other.kl > 100 * report.kl
    assert read(run, "merge_report.json")["other"]["kl"] == report.other.kl


def test_an_adapter_alone_travels_with_the_name_and_digest_of_its_base(trained_run: TrainedRun, tmp_path: Path) -> None:
    run = trained_run(tmp_path, export={"kind": "adapter"})
    (report,) = export(run.recipe)
    assert report.base == "none" and report.kl == 0 and report.top1 == 1 and report.greedy_equal == report.greedy_prompts == 4
    assert read(run, "adapter_config.json")["base_model_name_or_path"] == Path(run.recipe.model.path).name
    assert read(run, BASE)["digest"] == read(run, "merge_report.json")["model"]["digest"]
    assert read(run, "generation_config.json")["eos_token_id"] == [0, 6]
    assert "--generation-config . " in (folder_of(run) / "editors" / "vllm.sh").read_text()
    assert not (folder_of(run) / "model.safetensors").exists()


class TooStrong(Merged):
    """A merge with a mistake: twice the scale."""

    def __call__(self, tools: Tools, folder: Path) -> MergeReport:
        tools.merge(folder, self.model_copy(update={"strength": 2.0}))
        return tools.verify(folder, self)


def test_a_wrong_merge_leaves_the_last_good_export_and_the_reason(trained_run: TrainedRun, tmp_path: Path) -> None:
    run = trained_run(tmp_path)
    folder_of(run).mkdir(parents=True)
    (folder_of(run) / "good").write_text("an earlier export")
    with pytest.raises(ExportError, match=r"nats a token away from the adapter, \d+.\d% of what the adapter changes"):
        export(run.recipe.model_copy(update={"export": (TooStrong(),)}))
    assert [str(path.relative_to(run.export)) for path in run.export.rglob("*")] == ["merged", "merged/good"]
    failed = json.loads((run.folder / "export_failed.json").read_text())
    assert failed["passed"] is False and failed["kl"] > failed["tolerance"] and "is allowed" in failed["reason"]
    assert not run.done("export") and not [path for path in run.folder.iterdir() if path.name.startswith(".partial-")]


@pytest.mark.parametrize("fault", ["nothing", "left out", "one layer left out", "another sign"])
def test_what_is_not_the_adapter_is_beyond_tolerance(plain: Exported, tmp_path: Path, fault: str) -> None:
    run, _ = plain
    copy = tmp_path / "copy"
    shutil.copytree(folder_of(run), copy)
    merged = {name: tensor.float() for name, tensor in load_file(copy / "model.safetensors").items()}
    base = load_file(Path(run.recipe.model.path) / "model.safetensors")
    match fault:
        case "left out":
            merged = base
        case "one layer left out":
            merged |= {name: tensor for name, tensor in base.items() if ".layers.1." in name}
        case "another sign":
            merged = {name: 2 * base[name] - tensor for name, tensor in merged.items()}
    save_file({name: tensor.bfloat16() for name, tensor in merged.items()}, copy / "model.safetensors", metadata={"format": "pt"})
    found = measure(task(run, copy, tmp_path))
    allowed = tolerance(("bfloat16", *found.computed_in), effect=found.effect, same_base=True)
    assert (found.kl <= allowed) is (fault == "nothing")


def test_half_the_strength_is_compared_with_half_the_adapter(trained_run: TrainedRun, tmp_path: Path) -> None:
    run = trained_run(tmp_path)
    half = tmp_path / "half"
    half.mkdir()
    with Workshop(run, read_base(run.recipe.model)) as tools:
        tools.merge(half, Merged(strength=0.5))
    found = measure(task(run, half, tmp_path).model_copy(update={"strength": 0.5}))
    assert found.kl < found.effect / 1000
    assert measure(task(run, half, tmp_path)).kl > found.effect / 10


def test_without_an_adapter_the_message_says_what_to_type(trained_run: TrainedRun, tmp_path: Path) -> None:
    run = trained_run(tmp_path)
    other = run.recipe.model_copy(update={"name": "other"})
    with pytest.raises(ExportError, match="the result of 'train' has not been made; type: finetune train"):
        export(other)


def test_a_base_that_changed_after_training_is_refused(trained_run: TrainedRun, tiny_base: Path, tmp_path: Path) -> None:
    copy = tmp_path / "base"
    shutil.copytree(tiny_base, copy)
    run = trained_run(tmp_path, model={"path": str(copy)})
    tensors = load_file(copy / "model.safetensors")
    save_file({name: tensor + 0.01 for name, tensor in tensors.items()}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="whose files have changed since; bring them back, or train again"):
        export(run.recipe)
    assert not run.export.exists()


def test_an_adapter_of_another_base_is_refused(trained_run: TrainedRun, tiny_base: Path, tmp_path: Path) -> None:
    run = trained_run(tmp_path)
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    with pytest.raises(ModelError, match="trained on .*, whose files differ from those of .*; write model.path of that very base"):
        check_adapter_base(run.adapter, read_base(ModelSection(path=str(other))))


@pytest.mark.parametrize(
    ("family", "licence", "said"),
    [
        ("starcoder2", b"caf\xe9", "LICENSE: no UTF-8 text"),
        ("none", None, "no LICENSE beside the base's weights .*; copy the base model's"),
    ],
)
def test_without_terms_that_can_be_passed_on_nothing_is_merged(
    trained_run: TrainedRun, tiny_base: Path, tmp_path: Path, family: str, licence: bytes | None, said: str
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    run = trained_run(tmp_path / "runs", model={"path": str(base), "family": family}, adapter={"kind": "lora", "targets": ["q_proj"]})
    if licence is not None:
        (base / "LICENSE").write_bytes(licence)
    before = run.manifest.read_bytes()
    with pytest.raises(ExportError, match=said):
        export(run.recipe)
    assert not run.export.exists() and run.manifest.read_bytes() == before


def test_every_form_carries_its_card_its_licence_and_its_duties(plain: Exported, trained_run: TrainedRun, tmp_path: Path) -> None:
    alone = trained_run(tmp_path, export="adapter")
    export(alone.recipe)
    for folder in (folder_of(plain[0]), alone.export / "adapter"):
        card = (folder / "README.md").read_text()
        assert "license_name: bigcode-openrail-m" in card
        assert [line for line in card.splitlines() if line.startswith("## ")] == [
            f"## {part}" for part in ("Training", "Data", "Evaluation", "Export", "Limits", "Licence")
        ]
        assert "bigcode-project.org" in (folder / "LICENSE").read_text()
        assert "Attachment A" in (folder / "NOTICE").read_text()


def test_an_export_without_its_card_fails(trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would write it is taken out: the check stands behind it."""
    run = trained_run(tmp_path, export="adapter")
    monkeypatch.setattr("finetune.export.write_card", lambda folder, facts: None)
    with pytest.raises(ExportError, match="no model card"):
        export(run.recipe)
    assert not run.export.exists() and not run.done("export")


def test_a_merge_without_room_is_refused_before_anything_is_written(
    trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained_run(tmp_path, model={"quantization": "nf4"})
    size = (Path(run.recipe.model.path) / "model.safetensors").stat().st_size // 2  # bfloat16 of float32
    usage = shutil.disk_usage(tmp_path)
    # room for one merge and all beside it, and not for the other base's
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=(16 << 20) + 4 * 320 * 4096 + size * 3 // 2))
    with pytest.raises(ExportError, match="GB needed; make room, .* or write export.compare_bases=false, which needs half of it"):
        export(run.recipe)
    assert not [path for path in run.export.rglob("*") if path.is_file()] and not run.done("export")
    with Workshop(run, read_base(run.recipe.model)) as tools:
        folder = tmp_path / "one"
        folder.mkdir()
        tools.merge(folder, Merged(compare_bases=False))
        assert (folder / "model.safetensors").exists()


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="GB free, 1152921504.624 GB needed; make room, or write runs=FOLDER"):
        require_room(tmp_path, 1 << 60)


def test_tolerance_grows_with_the_effect_and_never_falls_below_rounding() -> None:
    assert tolerance(["bfloat16", "float32"], effect=0.0, same_base=True) == 1e-3
    assert tolerance(["float32"], effect=1e-4, same_base=True) == pytest.approx(1e-6)
    assert tolerance(["bfloat16"], effect=0.2, same_base=False) == pytest.approx(0.05)
