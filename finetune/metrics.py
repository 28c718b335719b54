"""Metrics: what an answer is worth, one class each. A new one is a class, a decorator and a test.

A metric scores one answer to one hole. What can not be scored is None, counted under the metric's `unscored` reason, never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from finetune.registry import Plugin, Registry


@dataclass(frozen=True, slots=True)
class Attempt:
    """One arm's answer to one hole.

    `nats` is what the true middle costs under this arm, given the prompt (minus its log probability).
    `stopped`: the model ended by itself. `to_the_right`: the model was asked to go on from the prefix, with no view of the suffix.
    """

    truth: str
    text: str
    stopped: bool
    nats: float
    to_the_right: bool = False


class Metric(Plugin):
    """Scores one answer.

    `better` is the direction of improvement, `bounds` the least and the most it can be, `unscored` why it may give None.
    """

    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    unscored: ClassVar[str] = "not computable"

    def __call__(self, attempt: Attempt) -> float | None:
        raise NotImplementedError

    def weight(self, attempt: Attempt) -> float:
        """How much the item counts in the mean."""
        return 1.0


METRICS: Registry[Metric] = Registry("metric", Metric)


@METRICS.register("exact_match")
class ExactMatch(Metric):
    """Whether the answer is the true middle, character for character, but for white space at its end."""

    def __call__(self, attempt: Attempt) -> float:
        return float(attempt.text.rstrip() == attempt.truth.rstrip())


@METRICS.register("edit_similarity")
class EditSimilarity(Metric):
    """Share of the longer of both texts that need not be edited: 1 is equal, 0 is nothing in common (Levenshtein)."""

    def __call__(self, attempt: Attempt) -> float:
        longer = max(len(attempt.text), len(attempt.truth))
        return 1.0 if longer == 0 else 1 - edit_distance(attempt.text, attempt.truth) / longer


@METRICS.register("first_line_match")
class FirstLineMatch(Metric):
    """Whether the first line is right, but for white space around it: what a reader of a suggestion sees first."""

    unscored: ClassVar[str] = "the true first line is blank"

    def __call__(self, attempt: Attempt) -> float | None:
        truth = _first_line(attempt.truth)
        return float(_first_line(attempt.text) == truth) if truth else None


@METRICS.register("bits_per_byte")
class BitsPerByte(Metric):
    """Bits that the true middle costs given the prompt, per byte of its UTF-8; lower is better.

    The middle's tokens alone count, not the stop token after them (`stops_correctly` is about that). A byte counts the
    same in every hole, so the mean is all bits over all bytes. Needs no sampling and moves before any answer changes.
    """

    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    unscored: ClassVar[str] = "the true middle has no finite cost"

    def __call__(self, attempt: Attempt) -> float | None:
        size = self.weight(attempt)
        return attempt.nats / math.log(2) / size if size and math.isfinite(attempt.nats) else None

    def weight(self, attempt: Attempt) -> float:
        return float(len(attempt.truth.encode()))


@METRICS.register("stops_correctly")
class StopsCorrectly(Metric):
    """Whether the model ended its answer by a stop token, before the limit of new tokens."""

    unscored: ClassVar[str] = "a model that writes to the right has no place to stop"

    def __call__(self, attempt: Attempt) -> float | None:
        return None if attempt.to_the_right else float(attempt.stopped)


def default_metrics() -> tuple[Metric, ...]:
    """Every metric there is, with its defaults."""
    return tuple(cls() for _, cls in METRICS)


def edit_distance(left: str, right: str) -> int:
    """The fewest characters to insert, delete or replace to make one text from the other."""
    import numpy as np

    letters = np.frombuffer(right.encode("utf-32-le"), dtype=np.uint32)
    ramp = np.arange(len(letters) + 1)
    row = ramp
    for index, letter in enumerate(left, start=1):
        replaced = row[:-1] + (letters != ord(letter))
        best = np.concatenate([[index], np.minimum(row[1:] + 1, replaced)])
        # An insertion comes from the cell to the left, at one more: a running minimum once each cell's own column is taken off.
        row = np.minimum.accumulate(best - ramp) + ramp
    return int(row[-1])


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0].strip()
