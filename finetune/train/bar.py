"""A progress bar for training."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.train.log import LogLine, TrainLog


class Bar(TrainerCallback):
    """Steps, time to go, and what the last log line says; on standard error, on the process that speaks, while a terminal looks."""

    def __init__(self, log: TrainLog, console: Console | None = None) -> None:
        self.log = log
        self.looked_at = sys.stderr.isatty() if console is None else console.is_terminal
        words = (TextColumn("train"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} steps"), TimeElapsedColumn())
        times = (TextColumn("to go"), TimeRemainingColumn(), TextColumn("{task.fields[state]}"))
        self.shown = Progress(*words, *times, console=console or Console(stderr=True), transient=True)
        self._task: TaskID | None = None
        self._valid = next((line.valid_loss for line in reversed(log.lines) if line.valid_loss is not None), None)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.looked_at and state.is_world_process_zero:
            self._task = self.shown.add_task("train", total=state.max_steps, completed=state.global_step, state="")
            self.shown.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._task is not None:
            self.shown.update(self._task, completed=state.global_step)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._task is None or not self.log.lines:
            return
        line = self.log.lines[-1]
        self._valid = self._valid if line.valid_loss is None else line.valid_loss
        if line.loss is not None:
            self.shown.update(self._task, state=describe(line, self._valid))

    def close(self) -> None:
        """Take the bar away, however the training ended."""
        if self._task is not None:
            self.shown.stop()


def describe(line: LogLine, valid: float | None) -> str:
    """Loss, held-out loss, tokens a second and memory, as far as they are known."""
    words = [f"loss {line.loss:.3f}"]
    words += [] if valid is None else [f"held out {valid:.3f}"]
    words += [] if line.tokens_per_s is None else [f"{line.tokens_per_s:,.0f} tokens/s"]
    return "  ".join([*words, f"{line.memory_bytes / 2**30:.1f} GiB"])
