"""Notebooks as StarCoder's `<jupyter_...>` samples, for families whose tokenizer has those tokens.

A family without them gets its notebooks through `fim`, as scripts, like any other file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from finetune.data.miners import MINERS, Bench, Miner
from finetune.data.notebooks import NOTEBOOK, cells_of, merged
from finetune.records import Cell, Item, NotebookSample, Sample, SourceFile


@MINERS.register("notebooks")
class Notebooks(Miner):
    """Notebooks cell by cell with what they wrote, or as scripts of their code."""

    form: Literal["structured", "script"] = Field("structured", description="script: the code of all cells after one token")
    outputs: bool = Field(True, description="false: every output is written as empty")

    def __call__(self, item: Item, bench: Bench) -> Sequence[Sample] | str:
        assert isinstance(item, SourceFile)
        if item.language != NOTEBOOK:
            return "no_notebook"
        tokens = bench.encoder.jupyter
        if tokens is None or (self.form == "script" and tokens.script is None):
            return "no_notebook_tokens"
        cells = [cell if self.outputs else Cell(cell.kind, cell.source) for cell in cells_of(item.text)]
        if self.form == "script":
            code = "\n\n".join(cell.source for cell in cells if cell.kind == "code")
            return [NotebookSample(item.origin, (Cell("code", code),), "script")] if code else "notebook_without_code"
        return [NotebookSample(item.origin, tuple(merged(cells)))]

    def smaller(self, sample: Sample, bench: Bench) -> Sequence[Sample]:
        """The notebook in two, between cells where there are several, else between the lines of its only cell."""
        assert isinstance(sample, NotebookSample)
        halves = _halves(sample.cells) if len(sample.cells) > 1 else _split(sample.cells[0])
        return [NotebookSample(sample.origin, half, sample.form) for half in halves]


def _halves(cells: tuple[Cell, ...]) -> list[tuple[Cell, ...]]:
    """Where the text is about half, but a code cell stays with the words before it if there is another place."""
    sizes = [len(cell.source) + len(cell.output) for cell in cells]
    places = [place for place in range(1, len(cells)) if cells[place - 1].kind == "code"] or [*range(1, len(cells))]
    middle = min(places, key=lambda place: abs(2 * sum(sizes[:place]) - sum(sizes)))
    return [cells[:middle], cells[middle:]]


def _split(cell: Cell) -> list[tuple[Cell, ...]]:
    """The source in two, the output with the end; nothing for a single line or character."""
    source, half = cell.source, len(cell.source) // 2
    cut = source.rfind("\n", 0, half) + 1 or source.find("\n", half) + 1 or half
    if not 0 < cut < len(source):
        return []
    return [(Cell(cell.kind, source[:cut].removesuffix("\n")),), (Cell(cell.kind, source[cut:], cell.output),)]
