"""Checkpoints that are whole: written aside, listed file by file, renamed.

    runs/NAME/checkpoints/
        run.json             whose they are: digest of the recipe's part, result of build, number of processes
        metrics.jsonl        a line per logged step
        .partial/            where transformers writes checkpoint-N
        checkpoint-N/        whole; files.json in it holds the size of every other file

A higher number alone proves nothing: a kill during saving leaves a torn folder, which blocks every later start (trap T16).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from finetune.errors import TrainError
from finetune.files import write_json
from finetune.run import Run

if TYPE_CHECKING:
    from peft import PeftModel

PREFIX, SIZES, OWNER, STAGING = "checkpoint-", "files.json", "run.json", ".partial"
_ROOM = 1 << 26  # bytes free below which a failed write is put down to the disk: more than a block that did not fit


class Checkpoint(NamedTuple):
    """A whole checkpoint; `finished`: no step is left to do after it."""

    step: int
    path: Path
    finished: bool


def seal(staged: Path, folder: Path) -> Path:
    """Move a checkpoint that is written to the end into `folder`, with the sizes of its files."""
    write_json(staged / SIZES, _sizes(staged))
    for path in staged.rglob("*"):
        with path.open("rb") if path.is_file() else os.fdopen(os.open(path, os.O_RDONLY)) as file:
            os.fsync(file.fileno())
    final = folder / staged.name
    shutil.rmtree(final, ignore_errors=True)
    return staged.rename(final)


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """torch and safetensors have errors of their own for a full disk; within the block it is the OSError that it is."""
    from safetensors import SafetensorError

    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if shutil.disk_usage(folder).free > _ROOM:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error


def newest(folder: Path) -> Checkpoint | None:
    """The whole checkpoint of the highest step."""
    whole = [_read(path) for path in _folders(folder) if _is_whole(path)]
    return max(whole, default=None)


def prune(folder: Path, *, keep: int) -> None:
    """Leave the `keep` newest whole checkpoints and nothing torn."""
    paths = sorted(_folders(folder), key=lambda path: (_is_whole(path), _step(path)))
    for path in paths[:-keep]:
        shutil.rmtree(path)


def claim(run: Run, *, processes: int) -> Checkpoint | None:
    """The checkpoint to go on from. Raises TrainError when the folder holds checkpoints of another training."""
    folder = run.checkpoints
    owner = {"digest": run.digest("train"), "data": run.mark("build").get("result"), "processes": processes}
    last = newest(folder)
    if last is None:
        return None
    path = folder / OWNER
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    differs = [name for name, value in owner.items() if found.get(name) != value]
    if differs:
        what = {"digest": "another recipe", "data": "other data", "processes": f"{found.get('processes')} processes, not {processes}"}
        raise TrainError(
            f"{folder}: holds step {last.step} of a training with {what[differs[0]]}; it would be lost. "
            f"Go on as it began, remove the folder {folder} to start anew, or write name=NEW to keep both"
        )
    return last


def start(run: Run, *, processes: int) -> Path:
    """Make the folder ready to be written (one process only); gives the place for checkpoints that are not whole yet."""
    folder = run.checkpoints
    staging = folder / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    owner = {"digest": run.digest("train"), "data": run.mark("build").get("result"), "processes": processes}
    write_json(folder / OWNER, owner)
    return staging


def restore(model: PeftModel, checkpoint: Path) -> None:
    """Put the adapter of a checkpoint in the place of the model's own."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(checkpoint / "adapter_model.safetensors"))


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]


def _step(path: Path) -> int:
    return int(path.name.removeprefix(PREFIX))


def _read(path: Path) -> Checkpoint:
    state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    return Checkpoint(_step(path), path, finished=state["global_step"] >= state["max_steps"])


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != SIZES)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _is_whole(path: Path) -> bool:
    try:
        listed = json.loads((path / SIZES).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return bool(listed == _sizes(path))
