"""An evaluation as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from finetune.evaluate.report import NOT_SHOWN, Evaluation, verdict
from finetune.records import FEWEST_FOR_A_VERDICT, Comparison, Estimate

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
    title = f"all holes ({counts}) of {evaluation.files} held-out files; 95 % intervals"
    tables = [_table(title, evaluation.metrics, holes=sum(evaluation.holes.values()))]
    for kind, metrics in evaluation.kinds.items():
        tables.append(_table(f"{kind} holes ({evaluation.holes[kind]})", metrics, holes=evaluation.holes[kind]))
    parts: list[Table | Text] = [part for table in tables for part in (table, Text())]
    parts += [Text(f"unscored: {count} ({reason})", style="yellow") for reason, count in evaluation.unscored.items()]
    parts += [Text(note, style="dim") for note in (*_missing(evaluation), *evaluation.notes)]
    return Group(*parts)


def _missing(evaluation: Evaluation) -> list[str]:
    asked = evaluation.settings.get("holes_of_each_kind", 0)
    fewer = [f"{count} {kind}" for kind, count in evaluation.holes.items() if count != asked]
    alone = [kind for kind, count in evaluation.holes.items() if count and kind not in evaluation.kinds]
    notes = [f"Of {asked} holes of each kind asked for, the held-out files have {', '.join(fewer)}."] if fewer else []
    measured = [comparison for metrics in (evaluation.metrics, *evaluation.kinds.values()) for comparison in metrics.values()]
    if any(comparison.files < FEWEST_FOR_A_VERDICT for comparison in measured):
        notes.append(
            f"{evaluation.files} files are too few to show a difference: fewer than {FEWEST_FOR_A_VERDICT} agree by chance too often."
        )
    return notes + [f"The {kind} holes come from one file: no interval for them alone." for kind in alone]


def _table(title: str, metrics: Mapping[str, Comparison], *, holes: int) -> Table:
    """Each figure with its interval below it, so that a terminal of 80 columns holds all of them whole."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0, show_edge=False)
    found.add_column("metric", no_wrap=True)
    for name in ("base", "tuned"):
        found.add_column(name)
    found.add_column("tuned - base", no_wrap=True)
    found.add_column("tuned is")
    for name, comparison in sorted(metrics.items()):
        found.add_row(
            _named(name, comparison, holes=holes),
            _interval(comparison.base),
            _interval(comparison.tuned),
            _interval(comparison.difference, sign="+"),
            _verdict(comparison),
        )
    return found


def _named(name: str, comparison: Comparison, *, holes: int) -> Text:
    """The metric, and below it what is not as for the others."""
    from rich.text import Text

    text = Text(name)
    if comparison.better == "lower":
        text.append("\nlower is better", "dim")
    if comparison.difference.n != holes:
        text.append(f"\nof {comparison.difference.n} holes", "dim")
    return text


def _interval(estimate: Estimate, *, sign: str = "") -> Text:
    from rich.text import Text

    return Text.assemble(f"{estimate.value:{sign}.3f}\n", (f"{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}", "dim"))


def _verdict(comparison: Comparison) -> Text:
    from rich.text import Text

    word = verdict(comparison)
    return Text(word, style=_STYLES[word])
