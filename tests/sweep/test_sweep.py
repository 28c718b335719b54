"""A sweep with real, tiny runs: built once, trained and measured at each point, kept when it is called again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from finetune.errors import FinetuneError, RecipeError, Stopped
from finetune.recipe import Recipe, dump_recipe
from finetune.run import Run, load_run
from finetune.sweep import read_result, sweep, table

MakeRecipe = Callable[..., Recipe]
FUNCTION = "def {0}_{1}(x):\n y = x + {1}\n return y\n\n"


def test_every_point_is_a_complete_run_on_one_dataset_and_one_loaded_base(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[object] = []
    load: Callable[..., Any] = AutoModelForCausalLM.from_pretrained
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *path, **how: loads.append(path) or load(*path, **how))
    result = sweep(make_recipe("{adapter.r: [2, 4]}"))
    assert len(loads) == 1, "once for both trainings and both measurements"
    folder = tmp_path / "runs" / "ranks"
    runs = [load_run(folder / name) for name in ("r-2", "r-4")]
    assert [row.name for row in result.rows] == ["r-2", "r-4"]
    assert [row.overrides for row in result.rows] == [{"adapter.r": 2}, {"adapter.r": 4}]
    assert all(run.done(step) for run in runs for step in ("build", "train", "evaluate"))
    assert len({(run.data / "train" / "data-00000-of-00001.arrow").stat().st_ino for run in runs}) == 1, "the rows lie on the disk once"
    few, many = (row.trainable for row in result.rows)
    assert few is not None and many is not None and many == 2 * few
    assert read_result(folder) == result
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    for row, run in zip(result.rows, runs, strict=True):
        measured = json.loads(run.report.read_text())["metrics"]["bits_per_byte"]["difference"]["value"]
        assert row.metrics is not None and row.metrics["bits_per_byte"].difference.value == measured


def test_a_sweep_goes_on_where_it_was_and_on_the_same_data(make_recipe: MakeRecipe, repository: Path, tmp_path: Path) -> None:
    sweep(make_recipe("{adapter.r: [2]}"))
    first = load_run(tmp_path / "runs" / "ranks" / "r-2")
    before = first.manifest.read_bytes()
    commit(repository, "src/late.py")
    result = sweep(make_recipe("{adapter.r: [2, 4]}"))
    second = load_run(tmp_path / "runs" / "ranks" / "r-4")
    assert first.manifest.read_bytes() == before, "a finished run is not touched"
    assert second.mark("build") == first.mark("build"), "a commit that came in between is not read"
    assert [row.error for row in result.rows] == [None, None]


def test_other_data_is_built_anew(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    sweep(make_recipe("{data.row_length: [400, 512]}"))
    marks = [load_run(tmp_path / "runs" / "ranks" / f"row_length-{length}").mark("build") for length in (400, 512)]
    assert marks[0]["result"] != marks[1]["result"]


def test_a_run_that_fails_is_a_row_with_its_error_and_does_not_end_the_sweep(
    make_recipe: MakeRecipe, repository: Path, tmp_path: Path
) -> None:
    recipe = make_recipe("{data.repositories: [[/no/such/folder], [HERE]]}".replace("HERE", str(repository)))
    result = sweep(recipe)
    failed, fine = result.rows
    assert failed.error is not None and "/no/such/folder" in failed.error and failed.metrics is None
    assert fine.error is None and fine.metrics is not None
    kept = Run(tmp_path / "runs" / "ranks" / failed.name, make_recipe("{}")).folder / "error.txt"
    assert "Traceback" in kept.read_text()
    assert f"failed: {failed.name}" in rendered(result)
    assert result.ranked()[-1] == failed


def test_a_signal_to_stop_ends_the_sweep_and_not_one_run_alone(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("{adapter.r: [2, 4], train.max_steps: [1000000]}")
    folder = tmp_path / "runs" / "ranks"

    def stop_after_the_first_step() -> None:
        pause = threading.Event()
        log = folder / "r-2_max_steps-1000000" / "checkpoints" / "metrics.jsonl"
        while not (log.exists() and '"step": 1,' in log.read_text()):
            pause.wait(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop_after_the_first_step, daemon=True).start()
    with pytest.raises(Stopped):
        sweep(recipe)
    assert not (folder / "r-4_max_steps-1000000" / "data").exists()
    assert not (folder / "sweep.json").exists(), "what was stopped is no failure"


def test_overrides_that_belong_together_are_runs_of_their_own(make_recipe: MakeRecipe) -> None:
    """P-Tuning alone can not pack: six methods of seven can, beside it."""
    runs = "[{adapter: lora}, {adapter: {kind: p_tuning, tokens: 4}, data.packing: false}]"
    recipe = make_recipe(sweep__runs=runs, export="adapter", data__row_length=400)
    lora, prompt = sweep(recipe).rows
    assert lora.error is prompt.error is None
    assert lora.name == "adapter-lora" and prompt.overrides["data.packing"] is False
    assert lora.data != prompt.data and "stand on other rows" in rendered(read_result(Path(recipe.runs) / recipe.name))
    assert lora.tokens and lora.seconds and lora.peak_memory_bytes and lora.share


def test_a_search_ends_runs_by_their_held_out_losses_and_keeps_every_run_as_a_row(make_recipe: MakeRecipe) -> None:
    """Rates that break the model are tried after one that does not; its loss on held-out rows is the bar."""
    space = "{train.learning_rate: [1e-2, 30.0, 20.0]}"
    more = {"train__max_steps": 8, "train__eval_every": 1, "train__warmup_steps": 0, "train__spike": "null", "seed": 5}
    search = f"{{trials: 3, sampler: random, spared_trials: 1, space: {space}}}"
    recipe = make_recipe(sweep__search=search, **more)
    result = sweep(recipe)
    assert len(result.rows) == 3 and result.by_loss and not result.waiting
    assert result.rows[0].overrides == {"train.learning_rate": 1e-2}, "this seed draws it first"
    first, *others = (row.pruned_at for row in result.rows)
    assert first is None and all(step in range(1, 8) for step in others), "the random base is no worse at first"
    assert result.ranked()[0] == result.rows[0]
    assert f"ended at step {others[0]}" in rendered(result)
    before = Path(recipe.runs, recipe.name, result.rows[0].name, "manifest.json").read_bytes()
    assert sweep(recipe).rows == result.rows, "no trial is left: nothing is drawn"
    assert Path(recipe.runs, recipe.name, result.rows[0].name, "manifest.json").read_bytes() == before


def test_runs_that_can_not_fit_are_named_before_the_first_run_or_become_rows(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    grid = "{train.batch_size: [1, 4194304]}"
    with pytest.raises(RecipeError, match=r"batch_size-4194304: .*can not hold it.*sweep.misfits=row"):
        sweep(make_recipe(grid, train__fit="check"))
    assert not (tmp_path / "runs").exists()
    fine, misfit = sweep(make_recipe(grid, sweep__misfits="row", train__fit="check")).rows
    assert fine.error is None and misfit.error is not None and "can not hold it" in misfit.error


def test_under_a_launcher_of_several_processes_a_sweep_says_how_to_share_it(make_recipe: MakeRecipe, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(FinetuneError, match="start `finetune sweep` several times"):
        sweep(make_recipe("{adapter.r: [2]}"))


@pytest.mark.slow
def test_a_sweep_killed_at_any_moment_goes_on_and_two_processes_share_it(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    """Killed every few seconds until it is through; the rows are those of an undisturbed sweep, which two processes share."""
    recipe = make_recipe("{adapter.r: [2, 4, 8]}", train__max_steps=6, train__save_every=1)
    path = tmp_path / "ranks.yaml"
    path.write_text(dump_recipe(recipe))
    command = [sys.executable, "-m", "finetune", "sweep", str(path)]
    for kills in range(60):
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            started.wait(timeout=12 + kills)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
            continue
        break
    assert started.returncode == 0 and kills > 0
    killed = read_result(tmp_path / "runs" / "ranks")
    pair = [subprocess.Popen([*command, f"runs={tmp_path / 'pair'}"], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [each.wait() for each in pair] == [0, 0]
    whole = read_result(tmp_path / "pair" / "ranks")
    assert not killed.waiting and not whole.waiting
    assert [(row.name, row.error, row.valid_loss, row.metrics) for row in killed.rows] == [
        (row.name, row.error, row.valid_loss, row.metrics) for row in whole.rows
    ]


def test_every_unsound_point_is_named_before_the_first_run(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        sweep(make_recipe("{adapter.r: [2, 0], data.row_length: [512, 4096]}"))
    assert "adapter.r" in str(caught.value) and "data.row_length: found 4096" in str(caught.value)
    assert not (tmp_path / "runs").exists()


def commit(repository: Path, path: str) -> None:
    (repository / path).write_text(FUNCTION.format("late", 1) * 3)
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for arguments in (["add", "-A"], [*identity, "commit", "-q", "-m", "Add one"]):
        subprocess.run(["git", *arguments], cwd=repository, check=True, capture_output=True)


def rendered(result: object) -> str:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as captured:
        console.print(table(result))  # type: ignore[arg-type]
    return captured.get()
