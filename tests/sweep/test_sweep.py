"""A sweep with real, tiny runs: built once, trained and measured at each point, kept when it is called again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from finetune.errors import RecipeError, Stopped
from finetune.recipe import Recipe, parse_recipe
from finetune.run import Run, load_run
from finetune.sweep import read_result, sweep, table

if TYPE_CHECKING:
    from conftest import MakeRepository

FUNCTION = "def {0}_{1}(x):\n y = x + {1}\n return y\n\n"
FILES = {f"src/{name}.py": "".join(FUNCTION.format(name, i) for i in range(5)) for name in "abcdefgh"}
MakeRecipe = Callable[[str], Recipe]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def repository(make_repository: MakeRepository) -> Path:
    return make_repository([("Add everything", FILES)])


@pytest.fixture
def make_recipe(tiny_base: Path, tmp_path: Path, repository: Path) -> MakeRecipe:
    """A recipe of seconds with the given grid."""

    def make(grid: str) -> Recipe:
        settings = {
            "runs": tmp_path / "runs",
            "model.path": tiny_base,
            "model.dtype": "float32",
            "data.repositories": f"[{repository}]",
            "data.row_length": 512,
            "data.valid_share": 0.4,
            "data.miners": "[fim]",
            "train.max_steps": 1,
            "train.accumulation": 1,
            "train.gradient_checkpointing": "false",
            "evaluate.items": 3,
            "evaluate.holes": "[line]",
            "evaluate.max_new_tokens": 24,
            "evaluate.resamples": 100,
            "sweep.grid": grid,
        }
        return parse_recipe("", [f"{key}={value}" for key, value in settings.items()], name="ranks")

    return make


def test_every_point_is_a_complete_run_on_one_dataset(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    result = sweep(make_recipe("{adapter.r: [2, 4]}"))
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


def test_a_run_that_fails_is_a_row_with_its_error_and_does_not_end_the_sweep(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    result = sweep(make_recipe("{adapter.targets: [[no_such_layer], [q_proj]]}"))
    failed, fine = result.rows
    assert failed.error is not None and "no_such_layer" in failed.error and failed.metrics is None
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
