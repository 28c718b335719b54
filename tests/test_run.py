"""The run folder: done-marks that know what they were made from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.base import DEMO, read_base
from finetune.errors import FinetuneError, TrainError
from finetune.recipe import Recipe, parse_recipe
from finetune.run import Run, load_run, open_run, run_of


def recipe(folder: Path, *overrides: str) -> Recipe:
    return parse_recipe("name: a", [f"runs={folder}", *overrides])


def finish(run: Run, step: str, **found: object) -> None:
    """Ends a step as its owner does: the result first, then the mark."""
    with run.step(step) as notes:
        notes.update(found)
        getattr(run, {"build": "data", "train": "adapter"}[step]).mkdir(exist_ok=True)


def test_a_run_loads_as_the_recipe_it_was_opened_with(tmp_path: Path) -> None:
    run = open_run(recipe(tmp_path, "adapter.r=3"))
    assert load_run(run.folder).recipe == run.recipe


def test_a_step_is_done_only_when_it_ended_well(tmp_path: Path) -> None:
    run = open_run(recipe(tmp_path))
    with pytest.raises(RuntimeError), run.step("build"):
        raise RuntimeError
    assert not run.done("build")
    finish(run, "build", inputs="commit 1")
    assert run.done("build")


def test_a_step_is_not_done_when_its_result_is_gone(tmp_path: Path) -> None:
    run = open_run(recipe(tmp_path))
    finish(run, "build")
    run.data.rmdir()
    assert not run.done("build")


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "empty"])
def test_a_step_is_not_done_when_its_weights_are_gone_or_empty(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    run = open_run(recipe(tmp_path))
    finish(run, "build")
    with run.step("train"):
        run.adapter.mkdir()
        for name in ("adapter_model.safetensors", "loss.png"):
            (run.adapter / name).write_bytes(b"all of it")
    (run.adapter / "loss.png").unlink()
    assert run.done("train")
    spoil(run.adapter / "adapter_model.safetensors")
    assert not run.done("train")
    with pytest.raises(TrainError, match=r"'train' lacks .*/adapter/adapter_model.safetensors; type: finetune train"):
        run.require("train", error=TrainError)


def test_a_step_that_is_done_again_is_not_done_while_it_runs(tmp_path: Path) -> None:
    """A kill between the new result and its mark must not leave the old mark beside the new result."""
    run = open_run(recipe(tmp_path))
    finish(run, "build")
    with pytest.raises(RuntimeError), run.step("build"):
        raise RuntimeError
    assert not run.done("build")


def test_a_step_is_not_done_for_a_recipe_that_changed_what_it_depends_on(tmp_path: Path) -> None:
    run = open_run(recipe(tmp_path))
    finish(run, "build")
    assert open_run(recipe(tmp_path, "train.epochs=3")).done("build")
    assert not open_run(recipe(tmp_path, "data.row_length=128")).done("build")


def made_on(base: Path, runs: Path) -> Run:
    """A run with data and an adapter, made with the files of this base."""
    run = open_run(recipe(runs, f"model.path={base}"))
    for step in ("build", "train"):
        finish(run, step, inputs={"base": read_base(run.recipe.model).digest})
    return run


def test_steps_stay_done_where_the_base_was_moved_to(tmp_path: Path, tiny_base: Path) -> None:
    """Also for a step that was done in the new place, and back again."""
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(tiny_base, old)
    there = made_on(old, tmp_path)
    old.rename(new)
    here = open_run(recipe(tmp_path, f"model.path={new}"))
    assert here.done("build") and here.done("train")
    with here.step("export"):
        here.export.mkdir()
    new.rename(old)
    assert there.done("export") and here.mark("build")["digest"] != here.digest("build")


def test_another_base_in_the_new_place_is_named(tmp_path: Path, tiny_base: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    (other / "config.json").write_text((other / "config.json").read_text().replace("100000.0", "10000.0"))
    made_on(tiny_base, tmp_path)
    run = open_run(recipe(tmp_path, f"model.path={other}"))
    assert not run.done("build") and not run.done("train")
    with pytest.raises(TrainError, match=f"'build' was made with other files than lie in model.path={other}; write model.path of that"):
        run.require("build", error=TrainError)


def test_another_change_beside_the_new_place_is_another_recipe(tmp_path: Path, tiny_base: Path) -> None:
    made_on(tiny_base, tmp_path)
    moved = tmp_path / "moved"
    moved.symlink_to(tiny_base)
    assert run_of(recipe(tmp_path, f"model.path={moved}")).done("train")
    assert not run_of(recipe(tmp_path, f"model.path={moved}", "seed=7")).done("train")
    assert not run_of(recipe(tmp_path, f"model.path={moved}", "model.quantization=nf4")).done("train")


def test_a_copy_of_the_embedded_base_is_another_base(tmp_path: Path) -> None:
    """The embedded base reads placeholders as it was trained to, a folder of the same files as its family does."""
    run = open_run(recipe(tmp_path))
    finish(run, "build", inputs={"base": read_base(run.recipe.model).digest})
    assert run.done("build") and not run_of(recipe(tmp_path, f"model.path={DEMO}")).done("build")


def test_new_data_makes_the_old_adapter_stale(tmp_path: Path) -> None:
    run = open_run(recipe(tmp_path))
    for commit in ("1", "2"):
        finish(run, "build", inputs=commit)
        assert not run.done("train")
        finish(run, "train")
        assert run.done("train")


def test_a_missing_step_is_asked_for_by_its_command(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"has not been made; type: finetune build .*/a$"):
        open_run(recipe(tmp_path)).require("build", error=TrainError)


def test_the_manifest_holds_what_others_read(tmp_path: Path) -> None:
    run = open_run(recipe(tmp_path, "seed=7"))
    with run.step("build"):
        pass
    manifest = json.loads(run.manifest.read_text())
    assert manifest["seed"] == 7
    assert len(manifest["recipe_digest"]) == 64
    assert manifest["versions"]["torch"]
    assert manifest["steps"]["build"]["peak_memory_bytes"] > 1e6
    assert manifest["steps"]["build"]["seconds"] >= 0


def test_a_folder_without_a_run_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="no run lies here"):
        load_run(tmp_path)


def test_a_folder_that_can_not_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FinetuneError, match="can not be written"):
        open_run(recipe(tmp_path / "file"))
