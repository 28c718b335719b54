"""What a sweep found, and sweep.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune.errors import EvaluateError
from finetune.evaluate.report import read_comparisons
from finetune.files import read_object
from finetune.records import Comparison
from finetune.sweep.ranks import RankCorrelation, spearman

PREFERRED = "bits_per_byte"  # counts every byte of every hole: it tells two runs apart with far fewer holes than right-or-wrong does
LOSS = "valid_loss"


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One run: what was set, what it cost, what it scored; or the first line of what went wrong.

    `trainable` of `total` numbers were trained, on `tokens`, in `seconds`; `valid_loss` is in nats per learnt token. Losses of rows
    with another `data`, the digest of the dataset, are of other rows. `pruned_at`: the step at which a search ended the run. What is
    not known is None: of a run that failed or was ended early, most.
    """

    name: str
    overrides: Mapping[str, Any]
    error: str | None = None
    data: str | None = None
    pruned_at: int | None = None
    trainable: int | None = None
    total: int | None = None
    valid_loss: float | None = None
    tokens: int | None = None
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    metrics: Mapping[str, Comparison] | None = None

    @property
    def share(self) -> float | None:
        """The trained part of all numbers of the model."""
        return None if self.trainable is None or self.total is None else self.trainable / self.total


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The rows in the order of the recipe, or of the search; `metric` is the one they are ranked by.

    `by_loss`: they are ranked by the held-out loss instead. `waiting`: runs that another process is at, or that it left.
    """

    folder: Path
    metric: str
    rows: Sequence[SweepRow]
    by_loss: bool = False
    waiting: Sequence[str] = ()

    def score(self, row: SweepRow) -> Comparison | None:
        """The row's comparison by the sweep's metric; None where it failed."""
        return None if row.metrics is None else row.metrics.get(self.metric)

    def ranked(self) -> list[SweepRow]:
        """The best run first; what failed last, what was ended early before it."""
        return sorted(self.rows, key=lambda row: (row.error is not None, row.pruned_at is not None, self._loss(row)))

    def frontier(self) -> list[SweepRow]:
        """The runs that no other beats with as few trained numbers or fewer, the smallest first."""
        scored = [row for row in self.rows if self.score(row) is not None and row.trainable is not None]
        ordered = sorted(scored, key=lambda row: (row.trainable or 0, self._cost(row)))
        best, found = float("inf"), []
        for row in ordered:
            if self._cost(row) < best:
                best = self._cost(row)
                found.append(row)
        return found

    def comparable(self) -> list[SweepRow]:
        """The runs whose held-out losses are of the same rows: those of the dataset that most of them have."""
        whole = [row for row in self.rows if row.valid_loss is not None and row.metrics is not None]
        if not whole:
            return []
        (data, _), *_ = Counter(row.data for row in whole).most_common(1)
        return [row for row in whole if row.data == data]

    def correlation(self, metric: str) -> RankCorrelation:
        """Of held-out loss with a metric's score, over the comparable runs; above 0: a lower loss goes with a better score."""
        pairs = [(row.valid_loss, row.metrics[metric]) for row in self.comparable() if row.metrics is not None and metric in row.metrics]
        losses = [loss for loss, _ in pairs if loss is not None]
        costs = [score.tuned.value if score.better == "lower" else -score.tuned.value for _, score in pairs]
        return spearman(losses, costs)

    def labels(self) -> dict[str, str]:
        """A word for each run: its method where that tells the runs apart, else its name."""
        chosen = [row.overrides.get("adapter") for row in self.rows]
        kinds = [str(value["kind"]) if isinstance(value, Mapping) else str(value) for value in chosen]
        told_apart = None not in chosen and len({*kinds}) == len(kinds)
        return {row.name: kind if told_apart else row.name for row, kind in zip(self.rows, kinds, strict=True)}

    def metrics(self) -> list[str]:
        """Every metric that a run has a score for, the sweep's own first."""
        found = {name for row in self.rows for name in row.metrics or ()}
        return sorted(found, key=lambda name: (name != self.metric, name))

    def _loss(self, row: SweepRow) -> float:
        """Lower is better, whatever the rank is by."""
        if self.by_loss or row.pruned_at is not None:
            return float("inf") if row.valid_loss is None else row.valid_loss
        return self._cost(row)

    def _cost(self, row: SweepRow) -> float:
        """The score; lower is better, whatever the metric's direction."""
        comparison = self.score(row)
        if comparison is None:
            return float("inf")
        value = comparison.difference.value
        return value if comparison.better == "lower" else -value


def to_json(result: SweepResult) -> dict[str, Any]:
    """The content of sweep.json."""
    return {
        "metric": result.metric,
        "by_loss": result.by_loss,
        "waiting": [*result.waiting],
        "rank_correlations": {name: asdict(result.correlation(name)) for name in result.metrics()},
        "runs": [asdict(row) for row in result.rows],
    }


def read_result(folder: Path) -> SweepResult:
    """The sweep that lies in `folder`. Raises EvaluateError when it can not be read."""
    path, cure = folder / "sweep.json", "type finetune sweep again"
    values = read_object(path, "runs", "metric", error=EvaluateError, cure=cure)
    try:
        rows = [row_of(row) for row in values["runs"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise EvaluateError(f"{path}: the sweep of another version ({error}); {cure}") from error
    return SweepResult(folder, values["metric"], rows, by_loss=values.get("by_loss", False), waiting=tuple(values.get("waiting", ())))


def row_of(values: Mapping[str, Any]) -> SweepRow:
    """A row from its JSON."""
    metrics = values["metrics"]
    return SweepRow(**{**values, "metrics": None if metrics is None else read_comparisons(metrics)})
