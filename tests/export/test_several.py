"""Several adapters in one merge, each by its weight."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from exported import folder_of, read, task
from safetensors.torch import load_file, save_file

from finetune.errors import FinetuneError
from finetune.export import export
from finetune.export.verify import Weighted, measure
from finetune.exporters import Merged, OtherAdapter
from finetune.methods import BASE, CONFIG, WEIGHTS, seal_adapter
from finetune.run import Run

TrainedRun = Callable[..., Run]


def test_several_adapters_are_merged_by_weight_and_compared_with_all_of_them_active(trained_run: TrainedRun, tmp_path: Path) -> None:
    other = trained_run(tmp_path / "others", name="other", seed=5)
    tensors = load_file(other.adapter / WEIGHTS)
    save_file({name: tensor.flip(0) for name, tensor in tensors.items()}, other.adapter / WEIGHTS, metadata={"format": "pt"})
    seal_adapter(other.adapter)
    adapters = [{"path": str(other.folder), "weight": -0.5}]
    run = trained_run(tmp_path, export={"kind": "merged", "strength": 0.8, "adapters": adapters})
    (report,) = export(run.recipe)
    assert report.passed and report.kl < report.effect / 1000
    (added,) = report.added
    assert added.name == "other" and added.weight == -0.5 and added.digest in (folder_of(run) / "README.md").read_text()
    assert read(run, "merge_report.json")["added"] == [{"name": "other", "weight": -0.5, "digest": added.digest}]
    others = (Weighted(adapter=other.adapter, weight=-0.5),)
    left_out = task(run, folder_of(run), tmp_path).model_copy(update={"strength": 0.8})
    assert measure(left_out.model_copy(update={"others": others})).kl == pytest.approx(report.kl, rel=1e-3)
    assert measure(left_out).kl > report.effect / 100


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("nothing there", "no adapter lies here; write the folder of a trained run"),
        ("itself", "is named twice"),
        ("another base", "trained on elsewhere, whose files differ from those of"),
        ("another kind", "is a ADALORA adapter, .* is LORA; name adapters of one kind"),
    ],
)
def test_a_further_adapter_that_does_not_go_with_the_run_s_is_refused(
    trained_run: TrainedRun, tmp_path: Path, fault: str, said: str
) -> None:
    run = trained_run(tmp_path / "own")
    other = tmp_path / "other"
    if fault != "nothing there":
        shutil.copytree(run.adapter, other)
    match fault:
        case "itself":
            other = run.folder
        case "another base":
            (other / BASE).write_text(json.dumps({"name": "elsewhere", "revision": None, "digest": "0"}))
        case "another kind":
            (other / CONFIG).write_text(json.dumps(json.loads((other / CONFIG).read_text()) | {"peft_type": "ADALORA"}))
            seal_adapter(other)
    recipe = run.recipe.model_copy(update={"export": (Merged(adapters=(OtherAdapter(path=str(other)),)),)})
    with pytest.raises(FinetuneError, match=said):
        export(recipe)
    assert not run.export.exists()
