"""The dataset on disk: rows, lists, tables and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from finetune.data.build import settle
from finetune.data.build.card import card
from finetune.data.build.checks import require_samples
from finetune.data.build.heldout import Heldout, open_heldout
from finetune.data.build.job import Job, load, room_of
from finetune.data.build.join import read_joined
from finetune.data.build.lines import Mix, mix
from finetune.data.build.lists import write_accounts, write_clusters, write_lists
from finetune.data.build.proof import proof
from finetune.data.build.samples import SampleWriter, sizes_of, wide
from finetune.data.build.shuffle import Shuffle
from finetune.data.build.teach import ENGINE
from finetune.data.build.tools import SIDES, Tools
from finetune.data.build.totals import Totals
from finetune.data.dialogues import Dialogues
from finetune.data.mine import Books
from finetune.data.miners import Bench
from finetune.data.report import BuildReport, Counts, Source, SplitCheck
from finetune.data.store import write_rows
from finetune.data.tables import SAMPLES, SampleRow, open_table
from finetune.data.tally import Tally
from finetune.files import STAGED, staged_folder, write_atomic, write_json
from finetune.hashing import file_digest
from finetune.records import Side
from finetune.run import Run

_LINES, _ARRAYS = "lines.samples", f"{STAGED}arrays"


def write(run: Run, job: Job, tools: Tools, dialogues: Sequence[Dialogues]) -> BuildReport:
    """The dataset of a job whose stages are all done, whole or not at all."""
    with staged_folder(run.data) as folder, room_of(job, job.folder / _ARRAYS) as room:
        found, totals, shuffle = proof(job, room), Totals(), Shuffle(room)
        write_accounts(job, found, folder, totals, shuffle)
        with open_heldout(job, found.withdrawn) as heldout:
            lines = _mixed(job, tools, dialogues, heldout, totals, shuffle)
            check = replace(found.check, train=found.check.train + heldout.trained)
        require_samples(totals.by_side(), totals.items.dropped)
        rows = _write_rows(shuffle, folder, tools)
        write_lists(job, found, lines, folder)
        write_clusters(job, folder / "clusters.jsonl", room)
        engine = _engine(job, [tools.encoder.engine] if dialogues else [])
        report = replace(_report(job, totals, check, rows, hashes(folder), engine), benchmark_texts=tools.benchmarks.texts)
        write_json(folder / "report.json", report.as_dict())
        write_atomic(folder / "README.md", card(report, run.recipe))
    return report


def _mixed(job: Job, tools: Tools, dialogues: Sequence[Dialogues], heldout: Heldout, totals: Totals, shuffle: Shuffle) -> Books:
    """The books of the lines that are mixed in; their samples join the others."""
    books = Books(Tally(), settle.gate_of(job))
    if not dialogues:
        return books
    path, bench = job.folder / _LINES, Bench(tools.encoder, job.recipe.data.row_length, job.recipe.seed)
    places, miners = [], Counter[tuple[str, bool]]()
    with SampleWriter(path, wide=wide(tools.encoder.vocabulary_size)) as samples:
        for mined in mix(Mix(tools, dialogues, bench, books, heldout), own=totals.tokens["train"]):
            samples.append(mined, valid=False)
            places.append((mined.order, True))
            miners[mined.miner, False] += 1
    own = np.array(places, dtype=settle.PLACE)
    totals.count_books(totals.lines, books)
    totals.count_samples(miners, own["stays"], np.load(sizes_of(path)))
    shuffle.add(path, own, np.load(sizes_of(path)))
    return books


def _write_rows(shuffle: Shuffle, folder: Path, tools: Tools) -> dict[Side, int]:
    data, encoder = tools.recipe.data, tools.encoder
    row_length = data.row_length if data.packing else None
    found: dict[Side, int] = {}
    with open_table(SampleRow, folder / SAMPLES) as table:
        for side in SIDES:
            rows = shuffle.rows(side, table, row_length=row_length, pad_id=encoder.pad_id)
            found[side] = write_rows(rows, folder / side, vocabulary_size=encoder.vocabulary_size, longest=data.row_length)
    return found


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _report(job: Job, totals: Totals, check: SplitCheck, rows: dict[Side, int], shards: dict[str, str], engine: str) -> BuildReport:
    items, data = totals.items, job.recipe.data
    return BuildReport(
        repositories=tuple(Source(each.name, each.path, each.commit) for each in job.repositories),
        items=Counts.of(items),
        files=Counts.of(totals.files),
        changes=Counts.of(totals.changes),
        samples=totals.by_miner(),
        rows=rows,
        tokens=totals.in_rows(rows, data.row_length if data.packing else None),
        redactions=dict((items + totals.lines).redactions),
        languages=dict(totals.languages),
        licences=dict(totals.licences),
        heldout=len(read_joined(job).held),
        split=check,
        sides={side: totals.sides[side] for side in SIDES},
        benchmarks=dict(totals.benchmarks),
        engine=engine,
        shards=shards,
        lines=Counts.of(totals.lines),
        instructions={miner: Counts.of(tally) for miner, tally in sorted(totals.instructions.items())},
    )


def _engine(job: Job, here: Sequence[str]) -> str:
    """The library that tokenised: the fast one only where no process, this one among them if it did, had to leave it aside."""
    return max(*here, *(str(load(place / ENGINE)) for place in job.places("teach")), "")
