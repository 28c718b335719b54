"""An evaluation as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from finetune.evaluate.report import NOT_SHOWN, Evaluation, verdict
from finetune.records import Comparison, Estimate

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

_STYLES = {"better": "green", "worse": "red", NOT_SHOWN: "dim"}


def table(evaluation: Evaluation) -> Group:
    """All holes, each kind of hole, what could not be scored, and what to know."""
    from rich.console import Group
    from rich.text import Text

    counts = ", ".join(f"{count} {kind}" for kind, count in evaluation.holes.items())
    parts: list[Table | Text] = [_table(f"all holes ({counts}) of {evaluation.files} held-out files", evaluation.metrics)]
    parts += [_table(f"{kind} holes ({evaluation.holes[kind]})", metrics) for kind, metrics in evaluation.kinds.items()]
    parts += [Text(f"unscored: {count} ({reason})", style="yellow") for reason, count in evaluation.unscored.items()]
    parts += [Text(note, style="dim") for note in (*_missing(evaluation), *evaluation.notes)]
    return Group(*parts)


def _missing(evaluation: Evaluation) -> list[str]:
    asked = evaluation.settings.get("holes_of_each_kind", 0)
    fewer = [f"{count} {kind}" for kind, count in evaluation.holes.items() if count != asked]
    alone = [kind for kind, count in evaluation.holes.items() if count and kind not in evaluation.kinds]
    notes = [f"Of {asked} holes of each kind asked for, the held-out files have {', '.join(fewer)}."] if fewer else []
    return notes + [f"The {kind} holes come from one file: no interval for them alone." for kind in alone]


def _table(title: str, metrics: Mapping[str, Comparison]) -> Table:
    from rich.table import Table

    found = Table("metric", "base", "tuned", "tuned - base", "n", "tuned is", title=title, title_justify="left", title_style="bold")
    for name, comparison in sorted(metrics.items()):
        better = " (lower is better)" if comparison.better == "lower" else ""
        found.add_row(
            name + better,
            _interval(comparison.base),
            _interval(comparison.tuned),
            _interval(comparison.difference, sign="+"),
            str(comparison.difference.n),
            _verdict(comparison),
        )
    return found


def _interval(estimate: Estimate, *, sign: str = "") -> str:
    return f"{estimate.value:{sign}.3f} ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"


def _verdict(comparison: Comparison) -> Text:
    from rich.text import Text

    word = verdict(comparison)
    return Text(word, style=_STYLES[word])
