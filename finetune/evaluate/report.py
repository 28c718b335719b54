"""What an evaluation found, and report.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from finetune.errors import EvaluateError
from finetune.files import read_object
from finetune.records import Comparison, Estimate, Report

NOT_SHOWN = "no difference shown"


@dataclass(frozen=True, slots=True)
class Evaluation(Report):
    """A report over all holes, with the same for each kind of hole.

    `holes` counts those measured of each kind, `files` where they come from: the more files, the shorter the intervals.
    """

    kinds: Mapping[str, Mapping[str, Comparison]] = field(default_factory=dict)
    holes: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    settings: Mapping[str, str | int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def verdict(comparison: Comparison) -> str:
    """better, worse, or that no difference is shown: its interval holds zero, or too few files were measured."""
    if not comparison.shown:
        return NOT_SHOWN
    return "better" if (comparison.difference.value > 0) == (comparison.better == "higher") else "worse"


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """The content of report.json."""
    return {
        **asdict(evaluation),
        "metrics": {name: _comparison(comparison) for name, comparison in evaluation.metrics.items()},
        "kinds": {kind: {name: _comparison(each) for name, each in metrics.items()} for kind, metrics in evaluation.kinds.items()},
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {**asdict(comparison), "verdict": verdict(comparison)}


def read_report(path: Path) -> Evaluation:
    """The evaluation that `to_json` described."""
    cure = f"remove {path} and type finetune evaluate again"
    values = read_object(path, error=EvaluateError, cure=cure)
    try:
        return _evaluation_of(values)
    except (KeyError, TypeError, AttributeError) as error:
        raise EvaluateError(f"{path}: the report of another version ({error}); {cure}") from error


def _evaluation_of(values: dict[str, Any]) -> Evaluation:
    kinds = {kind: read_comparisons(metrics) for kind, metrics in values.pop("kinds").items()}
    metrics, notes = read_comparisons(values.pop("metrics")), tuple(values.pop("notes"))
    return Evaluation(metrics=metrics, kinds=kinds, notes=notes, **values)


def read_comparisons(metrics: Mapping[str, Any]) -> dict[str, Comparison]:
    """Comparisons by metric, from their JSON."""
    return {name: _read_comparison(values) for name, values in metrics.items()}


def _read_comparison(values: Mapping[str, Any]) -> Comparison:
    base, tuned, difference = (Estimate(**values[part]) for part in ("base", "tuned", "difference"))
    return Comparison(base=base, tuned=tuned, difference=difference, files=values["files"], better=values["better"])
