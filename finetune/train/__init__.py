"""STEP train: an adapter from packed rows, whatever happens to the machine meanwhile.

    rows -> base model + adapter -> preflight -> steps (checkpoints, log) -> run/adapter

The same recipe goes on from the last whole checkpoint and ends where an undisturbed training ends.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.base import BaseFolder, read_base
from finetune.check import require_rows_of, tracker_faults
from finetune.data.store import read_rows
from finetune.errors import TrainError
from finetune.files import staged_folder, write_atomic
from finetune.lock import hold
from finetune.methods import save_adapter
from finetune.model import Load, load_model, on_cpu
from finetune.preflight import Preflight, check_training
from finetune.quiet import quiet_libraries
from finetune.recipe import Recipe, dump_recipe
from finetune.run import Run, is_main_process, open_run, run_to_change
from finetune.train.checkpoints import claim, full_disk_named
from finetune.train.launchers import on_cpu_instead, processes, spread_faults
from finetune.train.log import BAD_BATCH, LOG, PICTURE, Heard, LogLine, picture, summary, text_of, work_plot
from finetune.train.result import TrainResult, table

if TYPE_CHECKING:
    from peft import PeftModel

    from finetune.train.engine import Rows
    from finetune.train.signals import Stop
    from finetune.train.steps import Trained

_LOGGER = logging.getLogger(__name__)
__all__ = ["TrainResult", "table", "train"]


def train(recipe: Recipe, *, load: Load = load_model, heard: Heard | None = None) -> TrainResult:
    """Makes run/adapter, or finds it made. Raises TrainError when build was not done, or to say that it was stopped.

    `load` gives the base model; `heard` is told each new line of the log, and ends the training by raising.
    """
    run = run_to_change(recipe)
    run.require("build", error=TrainError)
    quiet_libraries()
    if run.done("train") and run.adapter.exists():
        _clear(open_run(recipe))
        return TrainResult(**(run.mark("train")["training"] | {"fresh": False}))
    base = read_base(recipe.model)
    require_rows_of(base, run, error=TrainError)
    _refuse(base, recipe)
    _tell(on_cpu_instead(recipe))
    from finetune.train.signals import Stop

    stop = Stop(f"finetune train {run.folder}")
    with stop.listening():
        result = _trained(run, base, stop, load=load, heard=heard)
    if stop.received is not None:
        raise stop.error("as it ended; its adapter is whole")
    return result


def _trained(run: Run, base: BaseFolder, stop: Stop, *, load: Load, heard: Heard | None) -> TrainResult:
    from finetune.train.steps import go

    with _held(run):
        if is_main_process() and run.done("train"):
            raise TrainError(f"{run.folder}: another training of this run has ended meanwhile; type the same again to see it")
        last = claim(run, processes=processes())
        rows = _rows(run)
        model = _model(run.recipe, base, load)
        checks = check_training(run, base, model, rows.train)
        with _noting(run) as notes:
            done = go(run, model, rows, last=last, stop=stop, heard=heard)
            result = _result(done, checks)
            notes |= {"inputs": {"base": base.digest}, "training": asdict(result), "preflight": asdict(checks)}
            notes |= {"on_cpu_instead": on_cpu_instead(run.recipe)}
            if is_main_process():
                _write(run, done.lines, lambda folder: save_adapter(model, folder, base, gathered=done.gathered))
        _clear(run)
    return result


def _refuse(base: BaseFolder, recipe: Recipe) -> None:
    """Raises for what can not end well on this machine."""
    from finetune.plan import require_fit

    if faults := [*tracker_faults(recipe), *spread_faults(recipe, cpu=on_cpu())]:
        raise TrainError("\n".join(faults))
    require_fit(base, recipe)


def _tell(changed: Sequence[str]) -> None:
    if changed and is_main_process():
        _LOGGER.warning("this training runs on the CPU (`finetune doctor` says which GPU torch finds): %s", "; ".join(changed))


def _held(run: Run) -> AbstractContextManager[None]:
    """The run is this training's alone, from before the base is loaded."""
    return hold(run.folder, doing="train") if is_main_process() else nullcontext()


def _noting(run: Run) -> AbstractContextManager[dict[str, Any]]:
    """The mark of this step, which one process alone writes."""
    return run.step("train", held=True) if is_main_process() else nullcontext({})


def _rows(run: Run) -> Rows:
    from finetune.train.engine import Rows

    train, valid = (read_rows(run.data / side).with_format("numpy") for side in ("train", "valid"))
    if not len(train):
        raise TrainError(f"{run.data}: holds no rows to train on; write data.valid_share lower, or name more repositories")
    return Rows(train, valid if len(valid) else None)


def _model(recipe: Recipe, base: BaseFolder, load: Load) -> PeftModel:
    """The base with a fresh adapter, the same for the same seed."""
    if recipe.data.packing and not recipe.adapter.packs:
        raise TrainError(f"adapter={recipe.adapter.kind}: it would mix the samples that share a row; write data.packing=false")
    from transformers import set_seed

    model = load(base, recipe.model)
    model.config.use_cache = False  # with a cache, samples in a row see each other
    set_seed(recipe.seed)
    return recipe.adapter(model, base.family)


def _result(done: Trained, checks: Preflight) -> TrainResult:
    end, covered = summary(done.lines, kept=done.step), checks.coverage
    return TrainResult(
        steps=done.lines[-1].step,
        tokens=end.tokens,
        loss=end.loss,
        valid_loss=end.valid_loss,
        valid_loss_before=end.valid_loss_before,
        seconds=end.seconds,
        trainable=covered.trainable,
        total=covered.total,
        share=covered.share,
        kept_step=done.step,
    )


def _write(run: Run, lines: Sequence[LogLine], save: Callable[[Path], None]) -> None:
    """run/adapter, whole or not at all."""
    with full_disk_named(run.folder), staged_folder(run.adapter) as folder:
        save(folder)
        write_atomic(folder / "recipe.yaml", dump_recipe(run.recipe))
        write_atomic(folder / LOG, text_of(lines))
        write_atomic(folder / PICTURE, picture(lines))
        write_atomic(folder / "work.png", work_plot(lines))


def _clear(run: Run) -> None:
    """Remove the checkpoints of a training that has ended."""
    if is_main_process():
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        (run.folder / BAD_BATCH).unlink(missing_ok=True)
