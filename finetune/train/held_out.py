"""What the losses on held-out rows decide: when to stop, and which step's adapter is the result. All of it is read off the log,
so that a training that goes on decides as one that was never stopped.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.errors import TrainError
from finetune.methods import AdaLora
from finetune.recipe import Recipe, TrainSection
from finetune.run import is_main_process
from finetune.train.checkpoints import fault_of, of_step
from finetune.train.log import LogLine, TrainLog

_LOGGER = logging.getLogger(__name__)


def keeps_best(section: TrainSection) -> bool:
    """Whether the result is the best step's: a training that stops early has by then gone past it."""
    return section.keep_best or section.early_stopping is not None


def refuse_unfit(recipe: Recipe, *, measured: bool, sharded: bool) -> None:
    """Raises TrainError where the best step can not be told, or not be brought back."""
    key = "early_stopping" if recipe.train.early_stopping is not None else "keep_best"
    if not keeps_best(recipe.train):
        return
    cure = f"leave train.{key} out"
    if not measured:
        raise TrainError(f"train.{key}: no row is held out to measure on; write data.valid_share higher, or {cure}")
    if isinstance(recipe.adapter, AdaLora):
        raise TrainError(
            f"train.{key}: adalora takes ranks away until the end, and earlier steps have too many; {cure}, or write adapter=lora"
        )
    if sharded:
        raise TrainError(
            f"train.{key}: FSDP and DeepSpeed spread the adapter, which is not brought back from there; {cure}, or use ddp.yaml"
        )


def measured(lines: Sequence[LogLine], *, after: int = -1) -> list[tuple[float, int]]:
    """Held-out loss and step, of the steps after one; what is no number is worse than every loss."""
    found = [(line.valid_loss, line.step) for line in lines if line.valid_loss is not None and line.step > after]
    return [(math.inf if math.isnan(loss) else loss, step) for loss, step in found]


def is_due(step: int, section: TrainSection, *, last: bool) -> bool:
    """Whether the rows are measured at this step."""
    return last or step % section.eval_every == 0


def is_over(lines: Sequence[LogLine], section: TrainSection) -> bool:
    """Whether so many losses as the recipe says went by without a new lowest one; the base's own counts as the first."""
    found = measured(lines)
    if section.early_stopping is None or not found:
        return False
    lowest = min(range(len(found)), key=lambda index: found[index][0])
    return len(found) - 1 - lowest >= section.early_stopping


def best_step(lines: Sequence[LogLine]) -> int | None:
    """The step after the first with the lowest loss."""
    return min(measured(lines, after=0), default=(0.0, None))[1]


def best_checkpoint(folder: Path, lines: Sequence[LogLine]) -> int | None:
    """The step with the lowest loss whose checkpoint is whole."""
    for _, step in sorted(measured(lines, after=0)):
        path = of_step(folder, step)
        if path.exists():
            fault = fault_of(path)
            if fault is None:
                return step
            if is_main_process():
                _LOGGER.warning("%s: it would be the best, but is torn (%s); the next best is taken", path, fault)
    return None


class MeasureLastStep(TrainerCallback):
    """The loss on held-out rows after the last step, wherever `eval_every` falls."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = True


class KeepBest(TrainerCallback):
    """A checkpoint of each step that is the best so far, and the end when none has been for long enough."""

    def __init__(self, log: TrainLog, section: TrainSection) -> None:
        self.log = log
        self.section = section

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if best_step(self.log.lines) == state.global_step:
            control.should_save = True
        if is_over(self.log.lines, self.section) and state.global_step:
            control.should_save = control.should_training_stop = True


def callbacks(log: TrainLog, section: TrainSection, *, measured: bool) -> Iterator[TrainerCallback]:
    """What of all this a recipe asks for."""
    if measured:
        yield MeasureLastStep()
    if keeps_best(section):
        yield KeepBest(log, section)
