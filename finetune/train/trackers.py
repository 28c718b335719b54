"""Trackers that a recipe asks for beside metrics.jsonl. Each writes below RUNS/.tracking, where the runs of a folder lie side by side,
and sends nothing anywhere.

Who wants a server names it in the tracker's own variable: WANDB_MODE=online, MLFLOW_TRACKING_URI, TRACKIO_SERVER_URL or TRACKIO_SPACE_ID.
transformers has reporters of its own, which would write into the checkpoint, upload all settings, and publish a Trackio board at the end.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.run import Run, is_main_process

if TYPE_CHECKING:
    from finetune.train.log import LogLine, TrainLog

FOLDER = ".tracking"
_PROJECT = "octotune"


class Tracker(NamedTuple):
    """Where a step's numbers go; `close` writes what is held back."""

    write: Callable[[int, Mapping[str, float]], object]
    close: Callable[[], object]


class Report(TrainerCallback):
    """Gives every new log line to the trackers."""

    def __init__(self, log: TrainLog, trackers: list[Tracker]) -> None:
        self.log = log
        self.trackers = trackers
        self._told = len(log.lines)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for line in self.log.lines[self._told :]:
            for tracker in self.trackers:
                tracker.write(line.step, numbers(line))
        self._told = len(self.log.lines)


@contextmanager
def reporting(run: Run, log: TrainLog, *, last_step: int) -> Iterator[Report]:
    """The callback for the recipe's trackers, opened on the process that writes and closed however the training ends.

    `last_step`: the step that the training goes on from, 0 at the start.
    """
    opened: list[Tracker] = []
    try:
        for name in run.recipe.train.report_to if is_main_process() else ():
            place = Path(run.recipe.runs).resolve() / FOLDER / name
            place.mkdir(parents=True, exist_ok=True)
            with _hushed():
                opened.append(_OPEN[name](run, place, last_step))
        yield Report(log, opened)
    finally:
        for tracker in opened:
            with _hushed():
                tracker.close()


@contextmanager
def _hushed() -> Iterator[None]:
    """Without what other libraries print and warn of when they open and close; no user can act on it."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        yield


def numbers(line: LogLine) -> dict[str, float]:
    """What a log line says, without what it does not."""
    return {name: value for name, value in asdict(line).items() if value is not None and name != "step"}


def _tensorboard(run: Run, place: Path, last_step: int) -> Tracker:
    """Points of steps that were lost by a kill and are done again are taken back (`purge_step`)."""
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(place / run.recipe.name), purge_step=last_step + 1 if last_step else None)

    def write(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return Tracker(write, writer.close)


def _wandb(run: Run, place: Path, last_step: int) -> Tracker:
    """Offline: `wandb sync` sends it later. Its own measuring of the machine is off, which would ask the network where it runs."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    wandb: Any = import_module("wandb")
    mode: Any = os.environ.get("WANDB_MODE", "offline")
    quiet = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
    )
    began: Any = wandb.init(
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
        name=run.recipe.name,
        id=_identity(run),
        resume=None if mode == "offline" else "allow",
        dir=str(place),
        mode=mode,
        config=_settings(run),
        settings=quiet,
    )
    return Tracker(lambda step, values: began.log(dict(values), step=step), began.finish)


def _trackio(run: Run, place: Path, last_step: int) -> Tracker:
    os.environ.setdefault("TRACKIO_DIR", str(place))
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    trackio: Any = import_module("trackio")
    began: Any = trackio.init(
        project=_PROJECT, name=run.recipe.name, config=_settings(run), resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
    )
    return Tracker(lambda step, values: began.log(dict(values), step=step), trackio.finish)


def _mlflow(run: Run, place: Path, last_step: int) -> Tracker:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    client: Any = import_module("mlflow").MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'mlflow.db'}"))
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
    experiment = client.get_experiment_by_name(name)
    number = client.create_experiment(name) if experiment is None else experiment.experiment_id
    known = client.search_runs([number], f"tags.octotune = '{_identity(run)}'", max_results=1)
    if known:
        client.update_run(known[0].info.run_id, status="RUNNING")
        key = known[0].info.run_id
    else:
        key = client.create_run(number, run_name=run.recipe.name, tags={"octotune": _identity(run)}).info.run_id
        for option, value in _settings(run).items():
            client.log_param(key, option, value)

    def write(step: int, values: Mapping[str, float]) -> None:
        for option, value in values.items():
            client.log_metric(key, option, value, step=step)

    return Tracker(write, lambda: client.set_terminated(key))


def _identity(run: Run) -> str:
    """One name for the training in every start: its folder and its recipe."""
    return hashlib.sha256(f"{run.folder.resolve()}\0{run.digest('train')}".encode()).hexdigest()[:16]


def _settings(run: Run) -> dict[str, str]:
    """What was asked for in training and adapter; no paths, no names of repositories."""
    found = run.recipe.model_dump(mode="json", include={"train", "adapter", "seed"})
    flat = {"seed": found["seed"]} | {f"{part}.{key}": value for part in ("adapter", "train") for key, value in found[part].items()}
    return {key: str(value) for key, value in flat.items()}


_OPEN: Mapping[str, Callable[[Run, Path, int], Tracker]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "trackio": _trackio,
    "mlflow": _mlflow,
}
