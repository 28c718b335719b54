"""Learnt tokens of a trainer's batches, and a clock around each of its steps: what the benchmarks of training share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Clock: TypeAlias = Callable[[], tuple[float, ...]]


class Meter:
    """What the measured steps take by some clocks, and the learnt tokens that went into them; steps before them warm up.

    `beside` is called behind each measured step, outside the clock: what is to be measured under the same load.
    """

    def __init__(self, trainer: Any, clock: Clock, *, warm: int, beside: Callable[[], None] = lambda: None) -> None:
        self.trainer = trainer
        self.clock = clock
        self.warm = warm
        self.beside = beside
        self._plain: Callable[[Any], dict[str, Any]] = trainer.data_collator
        self._learnt: list[int] = []
        self._steps: list[tuple[float, ...]] = []

    def __call__(self, rows: Any) -> dict[str, Any]:
        """A batch, whose learnt tokens are counted."""
        batch = self._plain(rows)
        self._learnt.append(int((batch["labels"][:, 1:] != -100).sum()))
        return batch

    def watch(self, steps: int) -> None:
        """Train for so many steps behind the warm ones."""
        from transformers import TrainerCallback

        meter = self

        class OneStep(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.started = meter.clock()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                meter._steps.append(tuple(now - then for now, then in zip(meter.clock(), self.started, strict=True)))
                if len(meter._steps) > meter.warm:
                    meter.beside()

        self.trainer.data_collator = self
        self.trainer.add_callback(OneStep())
        self.trainer.args.max_steps = self.warm + steps
        self.trainer.train()

    @property
    def learnt(self) -> int:
        """Learnt tokens of the measured steps."""
        return sum(self._learnt[self.warm : len(self._steps)])

    def seconds(self, clock: int = 0) -> list[float]:
        """What each measured step took by one of the clocks."""
        return [step[clock] for step in self._steps[self.warm :]]
