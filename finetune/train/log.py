"""metrics.jsonl: a line for every logged step, one for every loss on held-out rows; and their pictures."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple, TypeAlias

from finetune.errors import TrainError
from finetune.files import object_in, write_atomic
from finetune.plots import loss_plot, panels

LOG, PICTURE, BAD_BATCH = "metrics.jsonl", "loss.png", "bad_batch.json"


@dataclass(frozen=True, slots=True)
class LogLine:
    """`loss` is the mean since the last line, `tokens` all so far, `tokens_per_s` without evaluating and saving,
    `seconds` since the training began, `memory_bytes` the most so far (of the GPU if there is one)."""

    step: int
    loss: float | None
    valid_loss: float | None
    learning_rate: float | None
    gradient_norm: float | None
    tokens: int
    tokens_per_s: float | None
    seconds: float
    memory_bytes: int


Heard: TypeAlias = Callable[[LogLine], None]


class TrainLog:
    """The lines of one training, in memory and, on the process that writes, on disk."""

    def __init__(self, path: Path | None, lines: Sequence[LogLine], heard: Heard | None = None) -> None:
        """`lines` are those to keep of an earlier start; `path` is None on processes that do not write. `heard` is told each new line."""
        self.path = path
        self.heard = heard
        self.lines = list(lines)
        if path is not None:
            write_atomic(path, text_of(self.lines))

    def add(self, line: LogLine) -> None:
        """Keep a line; on disk it is one write, of which a kill can only tear the last."""
        self.lines.append(line)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(line))
        if self.heard is not None:
            self.heard(line)

    def flush(self) -> None:
        """What was written is on the disk, not only in the system's memory."""
        if self.path is not None:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())


def text_of(lines: Sequence[LogLine]) -> str:
    """The file's content."""
    return "".join(_line(line) for line in lines)


def read_lines(path: Path, *, last_step: int) -> list[LogLine]:
    """The lines up to a step; the ones after it are of work that was lost and is done again.

    Raises TrainError for a line that is none; the last may be torn by a kill.
    """
    if not path.exists():
        return []
    *texts, _ = path.read_bytes().split(b"\n")
    found = (_read_line(text, where=f"{path}, line {number}") for number, text in enumerate(texts, start=1))
    return [line for line in found if line.step <= last_step]


def _read_line(text: bytes, *, where: str) -> LogLine:
    cure, names = "take that line out of the file and type the same again", {each.name for each in fields(LogLine)}
    values = object_in(text, *sorted(names), where=where, error=TrainError, cure=cure)
    return LogLine(**{name: values[name] for name in names})


def _line(line: LogLine) -> str:
    return json.dumps(asdict(line)) + "\n"


class Final(NamedTuple):
    """The end of a training, from its lines."""

    loss: float
    valid_loss: float | None
    valid_loss_before: float | None
    tokens: int
    seconds: float


def summary(lines: Sequence[LogLine], *, kept: int) -> Final:
    """The end of a training that logged at least one step; `kept`: the step whose adapter is the result."""
    losses = [line.loss for line in lines if line.loss is not None]
    losses = losses[-max(1, min(10, len(losses) // 5)) :]
    held_out = {line.step: line.valid_loss for line in lines if line.valid_loss is not None}
    return Final(sum(losses) / len(losses), held_out.get(kept), held_out.get(0), lines[-1].tokens, lines[-1].seconds)


def picture(lines: Sequence[LogLine]) -> bytes:
    """The losses over the steps, drawn as PNG."""
    train = [(line.step, line.loss) for line in lines if line.loss is not None]
    valid = [(line.step, line.valid_loss) for line in lines if line.valid_loss is not None]
    return loss_plot(train, valid)


def work_plot(lines: Sequence[LogLine]) -> bytes:
    """How the work went: learning rate, gradient, tokens a second and memory over the steps, drawn as PNG."""
    steps = [line for line in lines if line.loss is not None]
    return panels(
        {
            "learning rate": [(line.step, line.learning_rate) for line in steps if line.learning_rate is not None],
            "norm of the gradient": [(line.step, line.gradient_norm) for line in steps if line.gradient_norm is not None],
            "tokens a second": [(line.step, line.tokens_per_s) for line in steps if line.tokens_per_s is not None],
            "most memory so far, GiB": [(line.step, line.memory_bytes / 2**30) for line in steps],
        }
    )


class Stopwatch:
    """Seconds of work between laps, and since the training began in whatever process."""

    def __init__(self, before: float) -> None:
        self._before = before
        self._began = time.monotonic()
        self._working = 0.0
        self._step_began = self._began

    def step_begins(self) -> None:
        self._step_began = time.monotonic()

    def step_ends(self) -> None:
        self._working += time.monotonic() - self._step_began

    def lap(self) -> float:
        """Seconds worked since the last lap."""
        worked, self._working = self._working, 0.0
        return worked

    def total(self) -> float:
        return self._before + time.monotonic() - self._began
