"""What a build read, kept, dropped and made: report.json and its table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data.store import BUILD_AGAIN
from finetune.data.tally import Tally
from finetune.errors import DataError
from finetune.files import read_object
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
class SplitCheck:
    """The proof that no near-duplicate crosses: how many texts, versions of files in changes among them, were compared exactly.

    `crossing` counts the valid texts that have a Jaccard similarity of at least `threshold` with a train text.
    """

    threshold: float
    train: int
    valid: int
    crossing: int


@dataclass(frozen=True, slots=True)
class Texts:
    """How many texts of one benchmark file are looked for, and how many are not: too short, or shared by many of its tasks."""

    wanted: int = 0
    too_short: int = 0
    shared: int = 0

    def __add__(self, other: Texts) -> Texts:
        return Texts(self.wanted + other.wanted, self.too_short + other.too_short, self.shared + other.shared)


@dataclass(frozen=True, slots=True)
class Handed:
    """What was written for another trainer: where, how many lines, and how many samples were left out by reason."""

    kind: str
    folder: str
    lines: Mapping[Side, int]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The dataset in numbers. `items` are the `files` and the `changes` together; languages, licences and sides count kept files.

    `benchmarks`: by benchmark file, the items left out for holding its text. `engine`: the library that made the tokens. `shards`: the
    SHA-256 of every file of the dataset but report.json and README.md, by its path in the folder. `lines`: those of files of the
    user's own. `instructions`: by miner, all requests that were tried, of which a file or a change may give several. `benchmark_texts`: by
    benchmark file, how many of its texts were looked for, and how many were not.
    """

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
    split: SplitCheck
    sides: Mapping[Side, int]
    benchmarks: Mapping[str, int]
    engine: str
    shards: Mapping[str, str]
    lines: Counts
    instructions: Mapping[str, Counts]
    benchmark_texts: Mapping[str, Texts] = field(default_factory=dict)
    fresh: bool = True  # False: an earlier build of the same recipe and commits had made it all
    handed: tuple[Handed, ...] = ()  # to other trainers, in this call

    def as_dict(self) -> dict[str, Any]:
        """What report.json holds."""
        return {key: value for key, value in asdict(self).items() if key not in {"fresh", "handed"}}


def read_report(path: Path) -> BuildReport:
    """The report of an earlier build. Raises DataError for one that is torn, or that another version wrote."""
    cure = BUILD_AGAIN.format(path.parent)
    stored = read_object(path, error=DataError, cure=cure)
    try:
        return _report_of(stored)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: the report of another version ({error}); {cure}") from error


def _report_of(stored: dict[str, Any]) -> BuildReport:
    counts = {key: Counts(**stored[key]) for key in ("items", "files", "changes", "lines")}
    repositories = tuple(Source(**source) for source in stored["repositories"])
    parts = {"tokens": Tokens(**stored["tokens"]), "split": SplitCheck(**stored["split"])}
    instructions = {miner: Counts(**each) for miner, each in stored["instructions"].items()}
    texts = {name: Texts(**each) for name, each in stored["benchmark_texts"].items()}
    made = {"repositories": repositories, "instructions": instructions, "benchmark_texts": texts, "fresh": False}
    return BuildReport(**(stored | counts | parts | made))


def table(report: BuildReport) -> Group:
    """The report for reading."""
    from rich.console import Group

    head = [] if report.fresh else ["already built from these commits by this recipe; nothing was done"]
    head += [f"{source.name} at {source.commit[:12]}  ({source.path})" for source in report.repositories]
    tables = (_items(report), *_instructions(report), _samples(report), _counts("redacted", report.redactions, "nothing found"))
    counted = (_counts("language (files)", report.languages, "none"), _counts("licence (files)", report.licences, "none"))
    handed = [_counts(f"for {each.kind}: {each.folder}", _handed(each), "nothing") for each in report.handed]
    return Group("\n".join(head), *tables, *counted, *handed)


def _handed(handed: Handed) -> dict[str, int]:
    lines: dict[str, int] = {side: count for side, count in handed.lines.items()}
    return lines | {f"left out: {reason}": count for reason, count in handed.left_out.items()}


def _items(report: BuildReport) -> Table:
    grid = _table("items", "files", "changes", "together")
    parts = (report.files, report.changes, report.items)
    grid.add_row("read", *(f"{part.read:,}" for part in parts))
    grid.add_row("kept", *(f"{part.kept:,}" for part in parts), end_section=True)
    for reason, _ in sorted(report.items.dropped.items(), key=lambda entry: (-entry[1], entry[0])):
        grid.add_row(f"dropped: {reason}", *(f"{part.dropped.get(reason, 0):,}" for part in parts))
    return grid


def _instructions(report: BuildReport) -> Iterator[Table]:
    """What became of the requests each miner tried, and of the lines of files of one's own."""
    parts = {**report.instructions, **({"lines": report.lines} if report.lines.read else {})}
    if not parts:
        return
    grid = _table("instructions", *parts)
    grid.add_row("tried", *(f"{part.read:,}" for part in parts.values()))
    grid.add_row("kept", *(f"{part.kept:,}" for part in parts.values()), end_section=True)
    for reason in sorted({reason for part in parts.values() for reason in part.dropped}):
        grid.add_row(f"dropped: {reason}", *(f"{part.dropped.get(reason, 0):,}" for part in parts.values()))
    yield grid


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
    grid.add_row("texts compared", f"{report.split.train:,}", f"{report.split.valid:,}")
    grid.add_row(f"{report.split.threshold:.0%} alike across", "", f"{report.split.crossing:,}")
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
