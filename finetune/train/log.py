"""metrics.jsonl: a line for every logged step, one for every loss on held-out rows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from finetune.files import write_atomic


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


class TrainLog:
    """The lines of one training, in memory and, on the process that writes, on disk."""

    def __init__(self, path: Path | None, lines: Sequence[LogLine]) -> None:
        """`lines` are those to keep of an earlier start; `path` is None on processes that do not write."""
        self.path = path
        self.lines = list(lines)
        if path is not None:
            write_atomic(path, self.text())

    def add(self, line: LogLine) -> None:
        """Keep a line; on disk it is one write, of which a kill can only tear the last."""
        self.lines.append(line)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(line))

    def text(self) -> str:
        """The file's content."""
        return "".join(_line(line) for line in self.lines)


def read_lines(path: Path, *, last_step: int) -> list[LogLine]:
    """The lines up to a step; the ones after it are of work that was lost and is done again."""
    if not path.exists():
        return []
    texts = [text for text in path.read_text(encoding="utf-8").split("\n") if text.endswith("}")]
    return [line for line in (LogLine(**json.loads(text)) for text in texts) if line.step <= last_step]


def _line(line: LogLine) -> str:
    return json.dumps(asdict(line)) + "\n"


class Final(NamedTuple):
    """The end of a training, from its lines."""

    loss: float
    valid_loss: float | None
    valid_loss_before: float | None
    tokens: int
    seconds: float


def summary(lines: Sequence[LogLine]) -> Final:
    """The end of a training that logged at least one step."""
    losses = [line.loss for line in lines if line.loss is not None]
    losses = losses[-max(1, min(10, len(losses) // 5)) :]
    held_out = [line.valid_loss for line in lines if line.valid_loss is not None]
    before, after = (held_out[0], held_out[-1]) if held_out else (None, None)
    return Final(sum(losses) / len(losses), after, before, lines[-1].tokens, lines[-1].seconds)


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
