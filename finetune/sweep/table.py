"""A sweep as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune.records import Estimate
from finetune.sweep.report import SweepResult, SweepRow

if TYPE_CHECKING:
    from rich.console import Group


def table(result: SweepResult) -> Group:
    """The runs, best first, and whether the best is told apart from the next; then what failed."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    direction = next((score.better for row in result.rows if (score := result.score(row)) is not None), "higher")
    shown = Table(
        "run", "trained", "held-out loss", "base", "tuned", "tuned - base", "seconds",
        title=f"{result.folder}: by {result.metric} ({direction} is better)", title_justify="left",
    )  # fmt: skip
    for row in result.ranked():
        if row.error is None:
            shown.add_row(*_cells(result, row))
    failed = [Text(f"failed: {row.name}: {row.error}", style="red") for row in result.rows if row.error is not None]
    return Group(shown, *failed, Text(_advice(result), style="dim"))


def _cells(result: SweepResult, row: SweepRow) -> list[str]:
    score = result.score(row)
    share = "" if row.share is None else f"{row.trainable:,} ({row.share:.2%})"
    loss = "" if row.valid_loss is None else f"{row.valid_loss:.4f}"
    scores = ["", "", ""] if score is None else [f"{score.base.value:.3f}", f"{score.tuned.value:.3f}", _interval(score.difference)]
    return [row.name, share, loss, *scores, "" if row.seconds is None else f"{row.seconds:.0f}"]


def _interval(found: Estimate) -> str:
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _advice(result: SweepResult) -> str:
    """What the ranking is worth."""
    scored = [(row, score) for row in result.ranked() if (score := result.score(row)) is not None]
    if len(scored) < 2:
        return "One run alone is ranked against nothing."
    (first, best), (second, next_) = scored[:2]
    if best.difference.low <= next_.difference.high and next_.difference.low <= best.difference.high:
        return (
            f"The intervals of {first.name} and {second.name} overlap: this does not show which is better. "
            "Take the one that trains fewer numbers, or measure more holes (evaluate.items)."
        )
    return f"{first.name} is better than {second.name}: their intervals do not overlap."
