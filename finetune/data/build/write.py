"""The dataset on disk: rows, held-out files, decisions and the report."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from finetune.data.build.account import decided, listed
from finetune.data.build.card import card
from finetune.data.build.harvest import SIDES, Harvest
from finetune.data.decontaminate import REASON as BENCHMARK
from finetune.data.miners.jsonl import Jsonl
from finetune.data.pack import apart, pack
from finetune.data.render import Encoder
from finetune.data.report import NO_LICENCE, BuildReport, Counts, Source, Tokens
from finetune.data.repos import Repository
from finetune.data.split import Split
from finetune.data.store import write_heldout, write_lines, write_rows
from finetune.data.tables import DECISIONS, SAMPLES, Row, SampleRow, write_table
from finetune.data.tally import Decision, Redaction
from finetune.files import staged_folder, write_atomic, write_json
from finetune.records import IGNORED, Side
from finetune.run import Run


class _Made(NamedTuple):
    """What lies in the folder, to be told in the report."""

    rows: dict[Side, int]
    decisions: Sequence[Row]
    shards: dict[str, str]


def write(run: Run, repositories: Sequence[Repository], harvest: Harvest, *, encoder: Encoder, split: Split) -> BuildReport:
    """The dataset on disk, whole or not at all."""
    data = run.recipe.data
    row_length = data.row_length if data.packing else None
    rows: dict[Side, int] = {}
    with staged_folder(run.data) as folder:
        listing: list[Iterator[SampleRow]] = []
        for name in SIDES:
            samples = sorted(harvest.samples[name], key=attrgetter("order"))
            encoded = (mined.encoded for mined in samples)
            packed = pack(encoded, row_length=row_length, pad_id=encoder.pad_id) if row_length else apart(encoded)
            rows[name] = write_rows(packed, folder / name, vocabulary_size=encoder.vocabulary_size, longest=data.row_length)
            listing.append(listed(name, samples, row_length=row_length))
        write_table(chain.from_iterable(listing), SampleRow, folder / SAMPLES)
        decisions = [*decided(harvest, split)]
        write_table(decisions, Row, folder / DECISIONS)
        _write_lists(harvest, folder)
        report = _report(repositories, harvest, _Made(rows, decisions, hashes(folder)), encoder=encoder, row_length=row_length)
        write_json(folder / "report.json", report.as_dict())
        write_atomic(folder / "README.md", card(report, run.recipe))
    return report


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its path in it."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _write_lists(harvest: Harvest, folder: Path) -> None:
    write_heldout(harvest.heldout, folder / "heldout.jsonl")
    decisions = (harvest.files + harvest.changes).decisions
    write_lines((_decision_line(each) for each in decisions), folder / "decisions.jsonl")
    write_lines(harvest.clusters, folder / "clusters.jsonl")
    parts = ((miner, each) for miner, tally in sorted(harvest.gate.tallies.items()) for each in tally.decisions)
    refused = [{"miner": miner} | _decision_line(each) for miner, each in parts]
    lines = [{"miner": Jsonl.kind} | _decision_line(each) for each in harvest.lines.decisions]
    write_lines([*refused, *lines], folder / "refused.jsonl")
    review = (harvest.files + harvest.changes + harvest.lines).review.values()
    write_lines((_review_line(each) for each in review), folder / "redactions.jsonl")


def _decision_line(each: Decision) -> dict[str, Any]:
    line = {"repo": each.origin.repo, "commit": each.origin.commit, "path": each.origin.path, "reason": each.reason}
    return line | ({"detail": each.detail} if each.detail else {})


def _review_line(each: Redaction) -> dict[str, Any]:
    where = {"repo": each.origin.repo, "commit": each.origin.commit, "path": each.origin.path}
    return where | {"part": each.part, "line": each.line, "kind": each.kind, "shown": each.shown}


def _report(repositories: Sequence[Repository], harvest: Harvest, made: _Made, *, encoder: Encoder, row_length: int | None) -> BuildReport:
    rows, kept = made.rows, [row for row in made.decisions if row.kind == "file" and row.reason is None]
    assert harvest.check is not None, "nothing is written before the sides are proved apart"
    together = harvest.files + harvest.changes
    tokens = {name: sum(len(mined.encoded.input_ids) for mined in harvest.samples[name]) for name in SIDES}
    learnt = sum(len(mined.encoded.labels) - mined.encoded.labels.count(IGNORED) for mined in harvest.samples["train"])
    capacity = tokens["train"] if row_length is None else rows["train"] * row_length  # rows of one sample are stored unpadded
    miners = {mined.miner for name in SIDES for mined in harvest.samples[name]}
    samples = {name: Counter(mined.miner for mined in harvest.samples[name]) for name in SIDES}
    return BuildReport(
        repositories=tuple(Source(each.name, each.path, each.commit) for each in repositories),
        items=Counts.of(together),
        files=Counts.of(harvest.files),
        changes=Counts.of(harvest.changes),
        samples={miner: {name: samples[name][miner] for name in SIDES} for miner in sorted(miners)},
        rows=rows,
        tokens=Tokens(tokens["train"], tokens["valid"], learnt, capacity - tokens["train"], round(tokens["train"] / capacity, 4)),
        redactions=dict((together + harvest.lines).redactions),
        languages=dict(Counter(row.language or "" for row in kept)),
        licences=dict(Counter(row.license or NO_LICENCE for row in kept)),
        heldout=len(harvest.heldout),
        split=harvest.check,
        sides={name: sum(row.side == name for row in kept) for name in SIDES},
        benchmarks=dict(Counter(_benchmark(row) for row in made.decisions if row.reason == BENCHMARK)),
        engine=encoder.engine,
        shards=made.shards,
        lines=Counts.of(harvest.lines),
        instructions={miner: Counts.of(tally) for miner, tally in sorted(harvest.gate.tallies.items())},
    )


def _benchmark(row: Row) -> str:
    """The file of the benchmark whose text an item holds."""
    return (row.detail or "").partition(": ")[0]
