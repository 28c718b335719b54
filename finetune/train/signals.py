"""Leaving when asked to: SIGINT and SIGTERM end a training cleanly, wherever it is.

loading, looking    at once: nothing was written yet
a step              after the pass that runs; what the step had done is put back, the step before it is saved
measuring           after the batch that runs; the measurement is made again by the next start
writing the result  after it
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.errors import Stopped
from finetune.train.checkpoints import Checkpoint
from finetune.train.progress import load_partial_loss

if TYPE_CHECKING:
    from finetune.train.engine import RowTrainer


class Stop:
    """Whether to stop. A second signal acts as ever."""

    def __init__(self, how_to_go_on: str) -> None:
        self.received: signal.Signals | None = None
        self._how_to_go_on = how_to_go_on
        self._patient = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block the two signals are heard; only the main thread can listen."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def hear(number: int, _: FrameType | None) -> None:
            self.received = signal.Signals(number)
            for each, handler in before.items():
                signal.signal(each, handler)
            if not self._patient:
                raise self.error("before the first step of this start; what was saved is kept")

        try:
            for number in before:
                signal.signal(number, hear)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def patiently(self) -> None:
        """From here on a signal is only noted; whoever works asks `agreed`."""
        self._patient = True

    def agreed(self) -> bool:
        """Whether one of the processes was told to stop; alone, it would wait for the others for ever. Every process must ask."""
        processes = PartialState()
        if processes.num_processes > 1:
            number = torch.tensor(0 if self.received is None else int(self.received), device=processes.device)
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
            if number.item():
                self.received = signal.Signals(int(number.item()))
        return self.received is not None

    def error(self, when: str) -> Stopped:
        """What to say: when it was stopped and how to go on."""
        assert self.received is not None
        return Stopped(f"stopped by {self.received.name} {when}; to go on, type: {self._how_to_go_on}")


class _StepStart(NamedTuple):
    """What the passes of a step change before the optimizer does anything."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    cuda: list[torch.Tensor]
    tokens: int
    loss: torch.Tensor


class StopBetweenPasses(TrainerCallback):
    """Ends the training at the next pass, with a checkpoint of the last whole step.

    A step of a large model takes minutes, and who stops a machine often waits for half a minute only.
    """

    def __init__(self, trainer: RowTrainer, stop: Stop, *, last: Checkpoint | None) -> None:
        """`last`: the checkpoint that the training goes on from."""
        self.trainer = trainer
        self.stop = stop
        self.last = last
        self._saved = 0 if last is None else last.step
        self._start: _StepStart | None = None
        self._epoch: _StepStart | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.last is not None:
            load_partial_loss(self.trainer, self.last.path)

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Its loader draws a number, and who goes on from an epoch's first step draws it again."""
        self._epoch = self._now(state)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # Right but where a start goes on inside an epoch; of its first step nothing is saved, which the checkpoint before it is.
        self._start = self._epoch or self._now(state)
        self._epoch = None

    def _now(self, state: TrainerState) -> _StepStart:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        loss, tokens = self.trainer._tr_loss.clone(), int(state.num_input_tokens_seen)
        return _StepStart(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda, tokens, loss)

    def on_substep_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not self.stop.agreed():
            return
        assert self._start is not None
        random.setstate(self._start.python)
        np.random.set_state(self._start.numpy)
        torch.set_rng_state(self._start.cpu)
        if self._start.cuda:
            torch.cuda.set_rng_state_all(self._start.cuda)
        state.num_input_tokens_seen = self._start.tokens
        self.trainer._tr_loss.copy_(self._start.loss)
        self._leave(state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.stop.agreed():
            self._leave(state, control)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Also when the measurement was cut short: the step before it is saved without it."""
        if not self.stop.agreed():
            return
        if state.global_step == 0:
            raise self.stop.error("before its first step was done")
        self._leave(state, control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._saved = state.global_step

    def _leave(self, state: TrainerState, control: TrainerControl) -> None:
        control.should_training_stop = True
        control.should_save = state.global_step > self._saved
