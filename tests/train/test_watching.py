"""What one sees of a training: the bar, the log, the plots, and trackers where they are asked for."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console
from training_runs import Prepare, held_out, logged, outcome
from transformers import TrainerControl, TrainerState, TrainingArguments

from finetune.check import require_sound
from finetune.errors import RecipeError, TrainError
from finetune.recipe import parse_recipe
from finetune.run import open_run
from finetune.train import train
from finetune.train.bar import Bar
from finetune.train.callbacks import DrawCurve
from finetune.train.engine import arguments as trainers_arguments
from finetune.train.log import LogLine, TrainLog

LINE = LogLine(7, 1.2345, None, 2e-4, 0.5, 4096, 812.4, 61.0, 3 << 30)


def test_the_bar_shows_steps_time_to_go_loss_speed_and_memory(tmp_path: Path) -> None:
    shown, log = io.StringIO(), TrainLog(None, [])
    bar = Bar(log, Console(file=shown, force_terminal=True, width=200))
    arguments, control = TrainingArguments(output_dir=str(tmp_path), use_cpu=True), TrainerControl()
    state = TrainerState(global_step=6, max_steps=50)
    bar.on_train_begin(arguments, state, control)
    log.add(LogLine(6, None, 1.5, None, None, 4000, None, 60.0, 3 << 30))
    bar.on_log(arguments, state, control)
    state.global_step = 7
    bar.on_step_end(arguments, state, control)
    log.add(LINE)
    bar.on_log(arguments, state, control)
    bar.close()
    for words in ("7/50 steps", "to go", "loss 1.234", "held out 1.500", "812 tokens/s", "3.0 GiB"):
        assert words in shown.getvalue(), words


def test_a_training_at_a_terminal_shows_its_bar_and_takes_it_away(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[bytes] = []
    ours, its = os.openpty()
    reader = threading.Thread(target=lambda: shown.extend(iter(lambda: _read(ours), b"")))
    reader.start()
    with os.fdopen(its, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("TERM", "xterm")
        train(prepare("train.max_steps=3"))
        monkeypatch.undo()
    reader.join()
    os.close(ours)
    text = b"".join(shown).decode()
    for words in ("3 steps", "to go", "loss ", "held out ", "tokens/s", "GiB"):
        assert words in text, words
    assert text.endswith("\x1b[2K"), "the line is cleared"


def _read(terminal: int) -> bytes:
    """What was written to a terminal; nothing once it is closed."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""


def test_nobody_looking_at_a_file_gets_a_bar(tmp_path: Path) -> None:
    shown = io.StringIO()
    bar = Bar(TrainLog(None, [LINE]), Console(file=shown))
    bar.on_train_begin(TrainingArguments(output_dir=str(tmp_path), use_cpu=True), TrainerState(max_steps=50), TrainerControl())
    bar.close()
    assert shown.getvalue() == ""


def test_the_curve_is_drawn_while_the_training_goes_on(tmp_path: Path) -> None:
    arguments, state, log = TrainingArguments(output_dir=str(tmp_path), use_cpu=True), TrainerState(), TrainLog(None, [LINE])
    rare = DrawCurve(log, tmp_path / "rare.png", every=3600)
    rare.on_log(arguments, state, TrainerControl())
    assert not (tmp_path / "rare.png").exists()
    DrawCurve(log, tmp_path / "often.png", every=0).on_log(arguments, state, TrainerControl())
    assert (tmp_path / "often.png").read_bytes().startswith(b"\x89PNG")


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_loaded(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr("finetune.check.find_spec", lambda name: None if name in ("wandb", "mlflow") else real(name))
    recipe = prepare("train.report_to=[wandb, mlflow]", "model.path=demo")
    said = r"train\.report_to: wandb, mlflow is not installed; type: pip install wandb mlflow, or leave it out"
    with pytest.raises(RecipeError, match=said):
        require_sound(recipe)
    with pytest.raises(TrainError, match=said):
        train(prepare("train.report_to=[wandb, mlflow]"))


def test_an_unknown_tracker_is_named() -> None:
    with pytest.raises(RecipeError, match=r"train\.report_to.*tensorboard"):
        parse_recipe("", ["train.report_to=[tensorbord]"], name="run")


def points(name: str, runs: Path) -> dict[str, dict[int, float]]:
    """What a tracker has kept of the run: by name, step to value."""
    place = runs / ".tracking" / name
    match name:
        case "tensorboard":
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

            events = EventAccumulator(str(place / "tracked"))
            events.Reload()
            return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
        case "mlflow":
            from mlflow import MlflowClient

            client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
            (experiment,) = client.search_experiments(filter_string="name = 'octotune'")
            history = client.get_metric_history
            (found,) = client.search_runs([experiment.experiment_id])
            assert found.info.status == "FINISHED" and found.info.run_name == "tracked"
            tags, number = found.data.metrics, found.info.run_id
            return {tag: {each.step: each.value for each in history(number, tag)} for tag in tags}
        case "trackio":
            from trackio.sqlite_storage import SQLiteStorage

            lines = SQLiteStorage.get_logs("octotune", "tracked")
            return {tag: {line["step"]: line[tag] for line in lines if tag in line} for tag in ("loss", "valid_loss")}
    raise AssertionError(name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "trackio"])
def test_a_tracker_that_is_asked_for_gets_both_curves_on_this_machine(prepare: Prepare, tmp_path: Path, name: str) -> None:
    """Sockets are blocked here: a tracker that sends anything fails. What the training comes to does not change."""
    pytest.importorskip(name)
    plain, tracked = prepare(name="plain"), prepare(f"train.report_to=[{name}]", name="tracked")
    train(plain)
    train(tracked)
    run = open_run(tracked)
    assert outcome(run.adapter) == outcome(open_run(plain).adapter)
    kept = points(name, tmp_path / "runs")
    assert kept["loss"] == pytest.approx(logged(run.adapter), rel=1e-6)
    assert kept["valid_loss"] == pytest.approx(held_out(run.adapter), rel=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_wandb_stays_offline_unless_it_is_told_otherwise(prepare: Prepare, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    train(prepare("train.report_to=[wandb]", name="tracked"))
    (folder,) = (tmp_path / "runs" / ".tracking" / "wandb" / "wandb").glob("offline-run-*")
    assert [*folder.glob("run-*.wandb")]


def test_without_trackers_nothing_of_them_is_written_and_the_log_is_there(prepare: Prepare, tmp_path: Path) -> None:
    recipe = prepare("train.max_steps=2")
    train(recipe)
    assert not (tmp_path / "runs" / ".tracking").exists()
    assert trainers_arguments(recipe, tmp_path, measured=True, fresh=True).report_to == [], (
        "transformers' own would report to all that is installed"
    )
    adapter = open_run(recipe).adapter
    assert all((adapter / name).read_bytes().startswith(b"\x89PNG") for name in ("loss.png", "work.png"))
    assert {"loss", "valid_loss", "tokens_per_s", "memory_bytes"} <= json.loads(
        (adapter / "metrics.jsonl").read_text().splitlines()[0]
    ).keys()
