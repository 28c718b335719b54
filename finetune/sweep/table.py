"""A sweep as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune.sweep.report import SweepResult
from finetune.sweep.words import base_cells, cells, heads, notes

if TYPE_CHECKING:
    from rich.console import Group

_COLUMNS = 8  # what a terminal is wide enough for; the page has every metric


def table(result: SweepResult) -> Group:
    """The runs, best first, and whether the best is told apart from the next; then what failed."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    by = "held-out loss" if result.by_loss else result.metric
    shown = Table(*heads(result)[:_COLUMNS], title=f"{result.folder}: best first, by {by}", title_justify="left")
    for row in result.ranked():
        if row.error is None:
            shown.add_row(*cells(result, row)[:_COLUMNS])
    if any(row.metrics for row in result.rows):
        shown.add_section()
        shown.add_row(*base_cells(result)[:_COLUMNS])
    failed = [Text(f"failed: {row.name}: {row.error}", style="red") for row in result.rows if row.error is not None]
    page = Text(f"All metrics, with intervals and the plot: {result.folder / 'sweep.html'}", style="dim")
    return Group(shown, *failed, *(Text(note, style="dim") for note in notes(result)), page)
