"""Checkpoints that are whole: written aside, listed file by file, renamed.

    runs/NAME/checkpoints/
        run.json             whose they are: digest of the recipe's part, result of build, number of processes
        metrics.jsonl        a line per logged step
        loss.png             the curve so far, once a minute has passed or the training was stopped
        .partial/            where transformers writes checkpoint-N
        checkpoint-N/        whole; files.json in it holds size and SHA-256 of every other file

A higher number alone proves nothing: a kill during saving leaves a torn folder, which blocks every later start (trap T16).
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from finetune.errors import TrainError
from finetune.files import flush, read_object, write_json
from finetune.hashing import file_digest
from finetune.recipe.digest import step_digest
from finetune.run import Run, is_main_process

if TYPE_CHECKING:
    from peft import PeftModel

PREFIX, FILES, OWNER, STAGING = "checkpoint-", "files.json", "run.json", ".partial"
_ROOM = 1 << 26  # bytes free below which a failed write is put down to the disk: more than a block that did not fit
_LOST = "bring the file back, or remove the folder {} to start anew"
_LOGGER = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A whole checkpoint; `finished`: no step is left to do after it."""

    step: int
    path: Path
    finished: bool


def seal(staged: Path, folder: Path) -> Path:
    """Move a checkpoint that is written to the end into `folder`, with the sizes and digests of its files.

    All of it is on the disk, not only in the system's memory, before it has its name.
    """
    write_json(staged / FILES, {name: {"bytes": size, "sha256": file_digest(staged / name)} for name, size in _sizes(staged).items()})
    for path in (*staged.rglob("*"), staged):
        flush(path)
    final = folder / staged.name
    shutil.rmtree(final, ignore_errors=True)  # a torn one: of a whole one, no later start writes the step again
    staged.rename(final)
    flush(folder)
    return final


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
    """The whole checkpoint of the highest step; each torn one above it is named in the log."""
    for path in sorted(_folders(folder), key=_step, reverse=True):
        fault = fault_of(path)
        if fault is None:
            return _read(path)
        if is_main_process():
            _LOGGER.warning("%s: skipped, it is torn (%s); the training goes on from an earlier step, or anew without one", path, fault)
    return None


def prune(folder: Path, *, keep: int, best: int | None = None) -> None:
    """Leave the `keep` newest whole checkpoints, that of the step `best`, and nothing torn."""
    whole = sorted((path for path in _folders(folder) if _listed(path) is not None), key=_step)
    kept = {*whole[-keep:], *(path for path in whole if _step(path) == best)}
    for path in _folders(folder):
        if path not in kept:
            shutil.rmtree(path)


def claim(run: Run, *, processes: int) -> Checkpoint | None:
    """The checkpoint to go on from. Raises TrainError when the folder holds checkpoints of another training."""
    folder = run.checkpoints
    owner = _owner(run, processes)
    last = newest(folder)
    if last is None:
        return None
    path = folder / OWNER
    found = read_object(path, error=TrainError, cure=_LOST.format(folder)) if path.exists() else {}
    # Wherever the base lies: it is then checked to be the one that the data were built for.
    moved = found.get("anywhere") == owner.pop("anywhere")
    differs = [name for name, value in owner.items() if found.get(name) != value and not (moved and name == "digest")]
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
    write_json(folder / OWNER, _owner(run, processes))
    return staging


def restore(model: PeftModel, checkpoint: Path) -> None:
    """Put the adapter of a checkpoint in the place of the model's own."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    from finetune.train.progress import is_more_than_its_file, load_progress

    if is_more_than_its_file(model):
        load_progress(model, checkpoint)
        return
    set_peft_model_state_dict(model, load_file(checkpoint / "adapter_model.safetensors"))


def of_step(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies, if it does."""
    return folder / f"{PREFIX}{step}"


def fault_of(path: Path) -> str | None:
    """What is wrong with the checkpoint, read to its last byte; None for a whole one."""
    listed = _listed(path)
    if listed is None:
        return f"its files are not those that {FILES} lists"
    changed = [name for name, about in listed.items() if file_digest(path / name) != about["sha256"]]
    return f"the content of {changed[0]} changed" if changed else None


def _owner(run: Run, processes: int) -> dict[str, str | int | None]:
    anywhere = step_digest(run.recipe, "train", anywhere=True)
    return {"digest": run.digest("train"), "anywhere": anywhere, "data": run.mark("build").get("result"), "processes": processes}


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]


def _step(path: Path) -> int:
    return int(path.name.removeprefix(PREFIX))


def _read(path: Path) -> Checkpoint:
    state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    return Checkpoint(_step(path), path, finished=state["global_step"] >= state["max_steps"])


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != FILES)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _listed(path: Path) -> dict[str, dict[str, str | int]] | None:
    """Size and digest by name, where the files there are those of the list and of its sizes."""
    try:
        listed: dict[str, dict[str, str | int]] = json.loads((path / FILES).read_text(encoding="utf-8"))
        sizes = {name: about["bytes"] for name, about in listed.items() if about["sha256"]}
    except (FileNotFoundError, NotADirectoryError, ValueError, AttributeError, KeyError, TypeError):
        return None
    return listed if sizes == _sizes(path) else None
