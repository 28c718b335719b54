"""What a build read, kept, dropped and made: report.json and its table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data.tally import Tally
from finetune.records import Side

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

NO_LICENCE = "no licence found"


@dataclass(frozen=True, slots=True)
class Counts:
    """read == kept + the sum of dropped."""

    read: int
    kept: int
    dropped: Mapping[str, int]

    @classmethod
    def of(cls, tally: Tally) -> Counts:
        """The tally's numbers, the commonest reason first."""
        assert tally.lost == 0, f"{tally.lost} items were neither kept nor dropped"
        return cls(tally.read, tally.kept, dict(tally.dropped.most_common()))


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of samples on each side; `learnt`, `padding` and `fill` are of the train rows."""

    train: int
    valid: int
    learnt: int
    padding: int
    fill: float


@dataclass(frozen=True, slots=True)
class Source:
    """A repository at the commit that was read."""

    name: str
    path: str
    commit: str


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The dataset in numbers. `items` are the `files` and the `changes` together; languages and licences count kept files."""

    repositories: tuple[Source, ...]
    items: Counts
    files: Counts
    changes: Counts
    samples: Mapping[str, Mapping[Side, int]]
    rows: Mapping[Side, int]
    tokens: Tokens
    redactions: Mapping[str, int]
    languages: Mapping[str, int]
    licences: Mapping[str, int]
    heldout: int
    fresh: bool = True  # False: an earlier build of the same recipe and commits had made it all

    def as_dict(self) -> dict[str, Any]:
        """What report.json holds."""
        return {key: value for key, value in asdict(self).items() if key != "fresh"}


def read_report(path: Path) -> BuildReport:
    """The report of an earlier build."""
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    counts = {key: Counts(**stored[key]) for key in ("items", "files", "changes")}
    repositories = tuple(Source(**source) for source in stored["repositories"])
    return BuildReport(**(stored | counts | {"repositories": repositories, "tokens": Tokens(**stored["tokens"]), "fresh": False}))


def table(report: BuildReport) -> Group:
    """The report for reading."""
    from rich.console import Group

    head = [] if report.fresh else ["already built from these commits by this recipe; nothing was done"]
    head += [f"{source.name} at {source.commit[:12]}  ({source.path})" for source in report.repositories]
    tables = (_items(report), _samples(report), _counts("redacted", report.redactions, "nothing found"))
    counted = (_counts("language (files)", report.languages, "none"), _counts("licence (files)", report.licences, "none"))
    return Group("\n".join(head), *tables, *counted)


def _items(report: BuildReport) -> Table:
    grid = _table("items", "files", "changes", "together")
    parts = (report.files, report.changes, report.items)
    grid.add_row("read", *(f"{part.read:,}" for part in parts))
    grid.add_row("kept", *(f"{part.kept:,}" for part in parts), end_section=True)
    for reason, _ in sorted(report.items.dropped.items(), key=lambda entry: (-entry[1], entry[0])):
        grid.add_row(f"dropped: {reason}", *(f"{part.dropped.get(reason, 0):,}" for part in parts))
    return grid


def _samples(report: BuildReport) -> Table:
    tokens = report.tokens
    grid = _table("samples", "train", "valid")
    for miner, sides in sorted(report.samples.items()):
        grid.add_row(miner, f"{sides['train']:,}", f"{sides['valid']:,}")
    grid.add_section()
    grid.add_row("tokens", f"{tokens.train:,}", f"{tokens.valid:,}")
    grid.add_row("learnt tokens", f"{tokens.learnt:,}", "")
    grid.add_row("rows", f"{report.rows['train']:,}", f"{report.rows['valid']:,}")
    grid.add_row("fill of rows", f"{tokens.fill:.1%}", "")
    grid.add_row("held-out files", "", f"{report.heldout:,}")
    return grid


def _counts(title: str, counts: Mapping[str, int], nothing: str) -> Table:
    grid = _table(title, "count")
    for name, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        grid.add_row(name, f"{count:,}")
    if not counts:
        grid.add_row(nothing, "")
    return grid


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    grid = Table(title, title_justify="left")
    for column in columns:
        grid.add_column(column, justify="right")
    return grid
