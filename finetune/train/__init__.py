"""STEP train: an adapter from packed rows, whatever happens to the machine meanwhile.

    rows -> base model + adapter -> preflight -> steps (checkpoints, log) -> run/adapter

The same recipe goes on from the last whole checkpoint and ends where an undisturbed training ends.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.base import BaseFolder, read_base
from finetune.data.store import read_rows
from finetune.errors import Stopped, TrainError
from finetune.files import staged_folder, write_atomic
from finetune.methods import save_adapter
from finetune.model import load_model
from finetune.plots import loss_plot
from finetune.preflight import Preflight, check_training
from finetune.quiet import known_warnings_off, quiet_libraries
from finetune.recipe import Recipe, dump_recipe
from finetune.run import Run, is_main_process, open_run
from finetune.train.checkpoints import STAGING, Checkpoint, claim, full_disk_named, restore, start
from finetune.train.log import TrainLog, read_lines, summary
from finetune.train.result import TrainResult, table

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor

    from finetune.train.engine import Rows

LOG = "metrics.jsonl"
__all__ = ["TrainResult", "table", "train"]


def train(recipe: Recipe) -> TrainResult:
    """Makes run/adapter, or finds it made. Raises TrainError when build was not done, or to say that it was stopped."""
    run = open_run(recipe)
    run.require("build", error=TrainError)
    quiet_libraries()
    if run.done("train") and run.adapter.exists():
        _clear(run)
        return TrainResult(**(run.mark("train")["training"] | {"fresh": False}))
    base = read_base(recipe.model)
    last = claim(run, processes=_processes())
    with _noting(run) as notes:
        rows = _rows(run)
        model = _model(recipe, base)
        checks = check_training(run, base, model, rows.train)
        log, state = _steps(run, model, rows, last)
        result = _result(log, checks)
        notes |= {"inputs": {"base": base.digest}, "training": asdict(result), "preflight": asdict(checks)}
        if is_main_process():
            _write(run, log, lambda folder: save_adapter(model, folder, base, gathered=state))
    _clear(run)
    return result


def _noting(run: Run) -> AbstractContextManager[dict[str, Any]]:
    """The mark of this step, which one process alone writes."""
    return run.step("train") if is_main_process() else nullcontext({})


def _rows(run: Run) -> Rows:
    from finetune.train.engine import Rows

    train, valid = (read_rows(run.data / side).with_format("numpy") for side in ("train", "valid"))
    if not len(train):
        raise TrainError(f"{run.data}: holds no rows to train on; write data.valid_share lower, or name more repositories")
    return Rows(train, valid if len(valid) else None)


def _model(recipe: Recipe, base: BaseFolder) -> PeftModel:
    """The base with a fresh adapter, the same for the same seed."""
    if not recipe.adapter.packs:
        raise TrainError(
            f"adapter={recipe.adapter.kind}: it would mix the samples that share a row; write adapter=lora, or another method that packs"
        )
    from transformers import set_seed

    model = load_model(base, recipe.model)
    model.config.use_cache = False  # with a cache, samples in a row see each other
    set_seed(recipe.seed)
    return recipe.adapter(model, base.family)


def _steps(run: Run, model: PeftModel, rows: Rows, last: Checkpoint | None) -> tuple[TrainLog, dict[str, Tensor] | None]:
    """Trains the model; gives what was logged, and the model's state if it is spread over processes."""
    from finetune.train.callbacks import Bar, LastStepIsMeasured, SealCheckpoints, StopOnSignal, WriteLog
    from finetune.train.engine import gathered, make_trainer

    kept = read_lines(run.checkpoints / LOG, last_step=-1 if last is None else last.step)
    staging = start(run, processes=_processes()) if is_main_process() else run.checkpoints / STAGING
    log = TrainLog(run.checkpoints / LOG if is_main_process() else None, kept)
    if last is not None and last.finished:
        restore(model, last.path)
        return log, None
    trainer = make_trainer(run.recipe, model, rows, staging=staging, fresh=last is None)
    stop, seal = StopOnSignal(), SealCheckpoints(run.checkpoints, keep=run.recipe.train.keep_checkpoints)
    last_look = [] if rows.valid is None else [LastStepIsMeasured()]
    for callback in (stop, *last_look, WriteLog(log), seal, Bar()):
        trainer.add_callback(callback)
    try:
        with stop.listening(), known_warnings_off():
            trainer.train(resume_from_checkpoint=None if last is None else str(last.path))
    finally:
        if is_main_process():
            shutil.rmtree(staging, ignore_errors=True)  # a checkpoint that did not fit on the disk
    if stop.received is not None and trainer.state.global_step < trainer.state.max_steps:
        raise Stopped(
            f"stopped by {stop.received.name} after step {trainer.state.global_step} of {trainer.state.max_steps}, which is kept; "
            f"to go on, type: finetune train {run.folder}"
        )
    return log, gathered(trainer)


def _result(log: TrainLog, checks: Preflight) -> TrainResult:
    end, covered = summary(log.lines), checks.coverage
    return TrainResult(
        steps=log.lines[-1].step,
        tokens=end.tokens,
        loss=end.loss,
        valid_loss=end.valid_loss,
        valid_loss_before=end.valid_loss_before,
        seconds=end.seconds,
        trainable=covered.trainable,
        total=covered.total,
        share=covered.share,
    )


def _write(run: Run, log: TrainLog, save: Callable[[Path], None]) -> None:
    """run/adapter, whole or not at all."""
    train = [(line.step, line.loss) for line in log.lines if line.loss is not None]
    valid = [(line.step, line.valid_loss) for line in log.lines if line.valid_loss is not None]
    with full_disk_named(run.folder), staged_folder(run.adapter) as folder:
        save(folder)
        write_atomic(folder / "recipe.yaml", dump_recipe(run.recipe))
        write_atomic(folder / LOG, log.text())
        write_atomic(folder / "loss.png", loss_plot(train, valid))


def _clear(run: Run) -> None:
    """Remove the checkpoints of a training that has ended."""
    if is_main_process():
        shutil.rmtree(run.checkpoints, ignore_errors=True)


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
