"""What happens around the steps: stop on a signal, seal checkpoints, log, show a bar."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import PartialState
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.run import peak_memory
from finetune.train.checkpoints import PREFIX, prune, seal
from finetune.train.log import LogLine, Stopwatch, TrainLog


class StopOnSignal(TrainerCallback):
    """Ends the training at the next step, with a checkpoint, once SIGINT or SIGTERM has come. A second signal acts as ever."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

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

        try:
            for number in before:
                signal.signal(number, hear)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._agree()
        if self.received is not None:
            control.should_save = control.should_training_stop = True

    def _agree(self) -> None:
        """Every process stops at the step at which one of them was told to; alone, it would wait for the others for ever."""
        processes = PartialState()
        if processes.num_processes == 1:
            return
        number = torch.tensor(0 if self.received is None else int(self.received), device=processes.device)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        if number.item():
            self.received = signal.Signals(int(number.item()))


class LastStepIsMeasured(TrainerCallback):
    """The loss on held-out rows after the last step, wherever `eval_every` falls."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = True


class SealCheckpoints(TrainerCallback):
    """Makes each checkpoint whole once every process has written its part of it."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        processes = PartialState()
        processes.wait_for_everyone()
        if processes.is_main_process:
            assert args.output_dir is not None
            seal(Path(args.output_dir) / f"{PREFIX}{state.global_step}", self.folder)
            prune(self.folder, keep=self.keep)
        processes.wait_for_everyone()


class WriteLog(TrainerCallback):
    """A line in the log for each loss that the trainer reports."""

    def __init__(self, log: TrainLog) -> None:
        self.log = log
        self.watch = Stopwatch(log.lines[-1].seconds if log.lines else 0.0)
        self._tokens = log.lines[-1].tokens if log.lines else 0

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.watch.step_begins()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.watch.step_ends()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not logs or not {"loss", "eval_loss"} & logs.keys():
            return
        tokens = int(state.num_input_tokens_seen)
        rate = None
        if "loss" in logs:
            rate = (tokens - self._tokens) / max(self.watch.lap(), 1e-9)
            self._tokens = tokens
        self.log.add(
            LogLine(
                step=state.global_step,
                loss=logs.get("loss"),
                valid_loss=logs.get("eval_loss"),
                learning_rate=logs.get("learning_rate"),
                gradient_norm=logs.get("grad_norm"),
                tokens=tokens,
                tokens_per_s=rate,
                seconds=self.watch.total(),
                memory_bytes=memory(),
            )
        )


class Bar(TrainerCallback):
    """A progress bar on standard error, on the process that speaks and only while a terminal looks."""

    def __init__(self) -> None:
        words = (TextColumn("train"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} steps"))
        self.shown = Progress(
            *words, TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn(), console=Console(stderr=True), transient=True
        )
        self._task: TaskID | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if sys.stderr.isatty() and state.is_world_process_zero:
            self._task = self.shown.add_task("train", total=state.max_steps, completed=state.global_step, loss="?")
            self.shown.start()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if self._task is not None and logs and "loss" in logs:
            self.shown.update(self._task, completed=state.global_step, loss=f"{logs['loss']:.3f}")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._task is not None:
            self.shown.stop()


def memory() -> int:
    """The most memory so far, in bytes: the GPU's where there is one."""
    return torch.cuda.max_memory_allocated() if PartialState().device.type == "cuda" else peak_memory()
