"""The steps of a training, from its last whole checkpoint to its end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from transformers import TrainerState

from finetune.base import read_base
from finetune.errors import TrainError
from finetune.model import load_tokenizer
from finetune.quiet import known_warnings_off
from finetune.run import Run, is_main_process
from finetune.train import held_out
from finetune.train.bar import Bar
from finetune.train.callbacks import AllocateRanks, DrawCurve, LogLastStep, SealCheckpoints, WriteLog
from finetune.train.checkpoints import STAGING, Checkpoint, of_step, restore, start
from finetune.train.engine import Rows, RowTrainer, gathered, make_trainer
from finetune.train.log import LOG, PICTURE, Heard, LogLine, TrainLog, read_lines
from finetune.train.memory import freed_memory_kept
from finetune.train.signals import Stop, StopBetweenPasses
from finetune.train.trackers import reporting
from finetune.train.watch import LASTING, StopOnLostMeasure, StopOnRise, Watch

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor


class Trained(NamedTuple):
    """What was logged, the step whose adapter the model now has, and the model's state if it is spread over processes."""

    lines: list[LogLine]
    step: int
    gathered: dict[str, Tensor] | None


def go(run: Run, model: PeftModel, rows: Rows, *, last: Checkpoint | None, stop: Stop, heard: Heard | None = None) -> Trained:
    """Trains the model. Raises Stopped when it was told to stop, TrainError with the rows at fault when the loss is lost."""
    staging = run.checkpoints / STAGING
    trainer = make_trainer(run.recipe, model, rows, staging=staging, fresh=last is None)
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    held_out.refuse_unfit(run.recipe, measured=rows.valid is not None, sharded=sharded)
    kept = read_lines(run.checkpoints / LOG, last_step=-1 if last is None else last.step)
    if is_main_process():
        start(run, processes=trainer.args.world_size)
    log = TrainLog(run.checkpoints / LOG if is_main_process() else None, kept, heard)
    trainer.watch = _watch(run, rows)
    trainer.interrupted = None if sharded else stop.agreed
    stop.patiently()
    with reporting(run, log, last_step=0 if last is None else last.step) as report, _callbacks(trainer, run, log) as curve:
        trainer.add_callback(report)
        trainer.add_callback(StopBetweenPasses(trainer, stop, last=last))
        if last is not None and not sharded:
            _measure_again(trainer, last, log, stop)
        if last is None or not (last.finished or held_out.is_over(log.lines, run.recipe.train)):
            _train(trainer, log, last, stop, curve)
            step = trainer.state.global_step
        else:
            restore(model, last.path)
            return Trained(log.lines, _take_best(run, model, log, last.step), None)
    return Trained(log.lines, _take_best(run, model, log, step), gathered(trainer))


def _watch(run: Run, rows: Rows) -> Watch:
    section = run.recipe.train

    def text_of(row: int) -> str:
        tokenizer = load_tokenizer(read_base(run.recipe.model))
        return str(tokenizer.decode(rows.train[row]["input_ids"].tolist()))

    return Watch(run.folder, text_of, passes=section.accumulation * section.log_every * (LASTING + 2))


@contextmanager
def _callbacks(trainer: RowTrainer, run: Run, log: TrainLog) -> Iterator[Callable[[], None]]:
    """Gives the trainer what happens around its steps; yields what draws the curve. Whatever is half done is taken away at the end."""
    section, bar = run.recipe.train, Bar(log)
    curve = DrawCurve(log, run.checkpoints / PICTURE)
    assert trainer.watch is not None
    for callback in (
        AllocateRanks(trainer.model, run.recipe),
        *held_out.callbacks(log, section, measured=trainer.eval_dataset is not None),
        LogLastStep(),
        WriteLog(log),
        StopOnLostMeasure(trainer.watch, log),
        *([] if section.spike is None else [StopOnRise(trainer.watch, log, times=section.spike)]),
        curve,
        SealCheckpoints(run.checkpoints, log, keep=section.keep_checkpoints, keep_best=held_out.keeps_best(section)),
        bar,
    ):
        trainer.add_callback(callback)
    try:
        with known_warnings_off():
            yield curve.draw
    finally:
        bar.close()
        if is_main_process():
            shutil.rmtree(run.checkpoints / STAGING, ignore_errors=True)  # a checkpoint that did not fit on the disk


def _measure_again(trainer: RowTrainer, last: Checkpoint, log: TrainLog, stop: Stop) -> None:
    """The loss on held-out rows that a stop has cut short."""
    due = held_out.is_due(last.step, trainer.section, last=last.finished)
    if trainer.eval_dataset is None or not due or any(step == last.step for _, step in held_out.measured(log.lines)):
        return
    restore(trainer.adapted, last.path)
    trainer.state = TrainerState.load_from_json(str(last.path / "trainer_state.json"))
    if not trainer.evaluate():
        raise stop.error(f"while step {last.step} was measured, which is kept")


def _train(trainer: RowTrainer, log: TrainLog, last: Checkpoint | None, stop: Stop, curve: Callable[[], None]) -> None:
    try:
        with freed_memory_kept():
            trainer.train(resume_from_checkpoint=None if last is None else str(last.path))
    except TrainError:
        if is_main_process():
            curve()
        raise
    step, steps, over = trainer.state.global_step, trainer.state.max_steps, held_out.is_over(log.lines, trainer.section)
    measured = trainer.eval_dataset is None or any(found == step for _, found in held_out.measured(log.lines))
    if stop.agreed() and not (over or (step >= steps and measured)):
        if is_main_process():
            curve()
        raise stop.error(f"after step {step} of {steps}, which is kept" if step else "before its first step was done")


def _take_best(run: Run, model: PeftModel, log: TrainLog, step: int) -> int:
    """Puts the best step's adapter into the model where the recipe wants it; gives the step whose adapter the model has."""
    if not held_out.keeps_best(run.recipe.train):
        return step
    best = held_out.best_checkpoint(run.checkpoints, log.lines)
    if best is None or best == step:
        return step
    restore(model, of_step(run.checkpoints, best))
    return best
