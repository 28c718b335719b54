"""What a sweep found, and sweep.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune.records import Comparison, Estimate

PREFERRED = "bits_per_byte"  # counts every byte of every hole: it tells two runs apart with far fewer holes than right-or-wrong does


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One run: what was set, what it cost, what it scored; or the first line of what went wrong.

    `trainable` of `total` numbers were trained; `valid_loss` is in nats per learnt token. All are None or empty where the run failed.
    """

    name: str
    overrides: Mapping[str, Any]
    error: str | None = None
    trainable: int | None = None
    total: int | None = None
    valid_loss: float | None = None
    seconds: float | None = None
    metrics: Mapping[str, Comparison] | None = None

    @property
    def share(self) -> float | None:
        """The trained part of all numbers of the model."""
        return None if self.trainable is None or self.total is None else self.trainable / self.total


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The rows in the order of the grid; `metric` is the one they are ranked by."""

    folder: Path
    metric: str
    rows: Sequence[SweepRow]

    def score(self, row: SweepRow) -> Comparison | None:
        """The row's comparison by the sweep's metric; None where it failed."""
        return None if row.metrics is None else row.metrics.get(self.metric)

    def ranked(self) -> list[SweepRow]:
        """The best run first; what failed last."""
        return sorted(self.rows, key=self._loss)

    def frontier(self) -> list[SweepRow]:
        """The runs that no other beats with as few trained numbers or fewer, the smallest first."""
        scored = [row for row in self.rows if self.score(row) is not None and row.trainable is not None]
        ordered = sorted(scored, key=lambda row: (row.trainable or 0, self._loss(row)))
        best, found = float("inf"), []
        for row in ordered:
            if self._loss(row) < best:
                best = self._loss(row)
                found.append(row)
        return found

    def _loss(self, row: SweepRow) -> float:
        """Lower is better, whatever the metric's direction."""
        comparison = self.score(row)
        if comparison is None:
            return float("inf")
        value = comparison.difference.value
        return value if comparison.better == "lower" else -value


def to_json(result: SweepResult) -> dict[str, Any]:
    """The content of sweep.json."""
    return {"metric": result.metric, "runs": [asdict(row) for row in result.rows]}


def read_result(folder: Path) -> SweepResult:
    """The sweep that lies in `folder`."""
    values = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    return SweepResult(folder=folder, metric=values["metric"], rows=[_row(row) for row in values["runs"]])


def _row(values: dict[str, Any]) -> SweepRow:
    metrics = values.pop("metrics")
    return SweepRow(**values, metrics=None if metrics is None else {name: _comparison(found) for name, found in metrics.items()})


def _comparison(values: Mapping[str, Any]) -> Comparison:
    base, tuned, difference = (Estimate(**values[part]) for part in ("base", "tuned", "difference"))
    return Comparison(base=base, tuned=tuned, difference=difference, better=values["better"])
