"""A loss that is no number, or that rose and stayed up, and the rows that did it."""

from __future__ import annotations

import json
import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.errors import TrainError
from finetune.files import write_json
from finetune.train.log import BAD_BATCH, LogLine, TrainLog

WINDOW, LEAST = 32, 8  # losses that a rise is held against, and how many there must be
LASTING = 3  # losses in a row: an odd file lifts one, a model that breaks lifts all that follow
MARGIN = 1.0  # nats a token: near zero the loss of rows learnt by heart doubles without harm
_SHOWN = 3  # rows in the message; the file holds all
_ACROSS = 60  # characters of a row in the message
_CURE = "Write a lower train.learning_rate or a longer train.warmup_steps"


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass: `rows` by their number in run/data/train, `loss` in nats per learnt token of theirs."""

    step: int
    rows: tuple[int, ...]
    loss: float


class Rise(NamedTuple):
    """A loss that left the `usual` one behind, at the line `first`."""

    usual: float
    first: LogLine


class Watch:
    """Remembers which rows went through the model lately, and names them."""

    def __init__(self, folder: Path, text_of: Callable[[int], str], *, passes: int) -> None:
        """`folder`: the run's, where the rows' texts are written. `text_of` a row by its number. `passes`: how many to remember."""
        self.folder = folder
        self.text_of = text_of
        self.passes: deque[Pass] = deque(maxlen=passes)

    def check(self, new: Pass) -> None:
        """Keep a pass. Raises TrainError when its loss is no number."""
        self.passes.append(new)
        if not math.isfinite(new.loss):
            raise self.fault(
                [new],
                f"step {new.step}: the loss is {new.loss}",
                f"{_CURE} (and model.dtype=bfloat16 in place of float16)",
            )

    def check_gradient(self, step: int, norm: float) -> None:
        """Raises TrainError when the gradient of a step is no number: its update would spoil every weight."""
        if not math.isfinite(norm):
            raise self.fault(self.of_steps([step]), f"step {step}: the norm of the gradient is {norm}, of finite losses", _CURE)

    def of_steps(self, steps: Iterable[int]) -> list[Pass]:
        """The passes of some steps, those of every process; every process must ask."""
        wanted = {*steps}
        found = [each for each in self.passes if each.step in wanted]
        if PartialState().num_processes > 1:
            found = [Pass(*each) for each in gather_object([(each.step, each.rows, each.loss) for each in found])]
        return found

    def fault(self, passes: Iterable[Pass], what: str, cure: str) -> TrainError:
        """The error that names the rows of some passes, worst first; writes their texts beside the run."""
        ranked = sorted(passes, key=lambda each: (math.isfinite(each.loss), -each.loss))
        path = self.folder / BAD_BATCH
        told = [asdict(each) | {"loss": str(each.loss), "texts": [self.text_of(row) for row in each.rows]} for each in ranked]
        write_json(path, {"what": what, "passes": told})
        rows = [row for each in ranked for row in each.rows]
        named = "; ".join(f"row {row} begins {_beginning(self.text_of(row))}" for row in rows[:_SHOWN])
        return TrainError(
            f"{what}. The rows of {self.folder / 'data' / 'train'} it came with: {named}{'; ...' if len(rows) > _SHOWN else ''} "
            f"(all of them in {path}). The checkpoints are from before it. {cure}, or leave the file out of which such a row comes "
            "(data.exclude), together with name=NEW"
        )


class StopOnRise(TrainerCallback):
    """Ends a training whose loss rose and stays up. While one is suspected no checkpoint takes the place of an older one."""

    def __init__(self, watch: Watch, log: TrainLog, *, times: float) -> None:
        self.watch = watch
        self.log = log
        self.times = times

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        lines = self._recent()
        if not lines or lines[-1].step != state.global_step:
            return
        if rise(lines, times=self.times, lasting=1) and not control.should_training_stop:
            control.should_save = False
        found = rise(lines, times=self.times, lasting=LASTING)
        if found is not None:
            raise self._fault(lines, found)

    def _recent(self) -> list[LogLine]:
        """The last lines with a loss, as many as are looked at."""
        found = (line for line in reversed(self.log.lines) if line.loss is not None)
        return [*islice(found, WINDOW + LASTING)][::-1]

    def _fault(self, lines: Sequence[LogLine], found: Rise) -> TrainError:
        earlier = [line.step for line in lines if line.step < found.first.step]
        # The update of the step before may have done it as well as the step's own rows.
        steps = range(earlier[-1] if earlier else found.first.step, found.first.step + 1)
        return self.watch.fault(
            self.watch.of_steps(steps),
            f"step {found.first.step}: the loss rose from {found.usual:.3g} to {found.first.loss:.3g} and kept up to step {lines[-1].step}",
            f"{_CURE}; where the data are meant to be so, train.spike={2 * self.times:g} or empty",
        )


class StopOnLostMeasure(TrainerCallback):
    """Ends a training when held-out rows that had a loss have none any more: after the last step no other loss would tell."""

    def __init__(self, watch: Watch, log: TrainLog) -> None:
        self.watch = watch
        self.log = log

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        found = [(line.step, line.valid_loss) for line in self.log.lines if line.valid_loss is not None]
        step, loss = found[-1] if found else (0, 0.0)
        before = [each for _, each in found if math.isfinite(each)]
        if step != state.global_step or math.isfinite(loss) or not before:
            return
        what = f"step {step}: the loss on held-out rows is {loss}, where it was {before[-1]:.4g} before"
        raise self.watch.fault(self.watch.of_steps([step]), what, _CURE)


def rise(lines: Sequence[LogLine], *, times: float, lasting: int) -> Rise | None:
    """Whether the last losses all lie beyond so many `times` the median of those before them; all lines have a loss."""
    losses = [line.loss for line in lines if line.loss is not None]
    before = losses[-WINDOW - lasting : -lasting]
    if len(before) < LEAST:
        return None
    usual = statistics.median(before)
    limit = max(times * usual, usual + MARGIN)
    return Rise(usual, lines[-lasting]) if min(losses[-lasting:]) > limit else None


def _beginning(text: str) -> str:
    return json.dumps(text[:_ACROSS], ensure_ascii=False)
