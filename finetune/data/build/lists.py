"""The lists beside the rows: what was left out and why, what is held out, what was replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from finetune.data.build.account import Ledger, decided, ledger
from finetune.data.build.clean import FACTS
from finetune.data.build.job import Job, Shard
from finetune.data.build.join import Joined, corpus, read_joined
from finetune.data.build.proof import Proof
from finetune.data.build.shuffle import Shuffle
from finetune.data.build.teach import SOURCES, Source, samples_of
from finetune.data.build.totals import Totals
from finetune.data.mine import Books
from finetune.data.miners.jsonl import Jsonl
from finetune.data.ordered import ordered
from finetune.data.room import Memory, singly
from finetune.data.spool import Spools
from finetune.data.store import open_lines, write_heldout, write_lines
from finetune.data.tables import DECISIONS, Row, open_table
from finetune.data.tally import Decision, Redaction
from finetune.records import SourceFile

_GONE = np.dtype([("keeper", np.int64), ("name", np.int64), ("number", np.int64)])
_REFUSED, _PARTS = "refused.jsonl", "refused"  # the parts go before the dataset is whole, and with it after a kill


def write_accounts(job: Job, proof: Proof, folder: Path, totals: Totals, shuffle: Shuffle) -> None:
    """The tables of decisions, files first, each kind by repository and path; their numbers and samples go into `totals` and `shuffle`."""
    with (
        open_table(Row, folder / DECISIONS) as table,
        open_lines(folder / "decisions.jsonl") as write,
        _Refused(folder / _PARTS) as refused,
    ):
        for source in SOURCES:
            for shard, found in _ledgers(job, source, proof):
                totals.count(source, found)
                shuffle.add(job.place("teach", shard) / samples_of(source), found.places, found.sizes)
                refused.add(found.account.books)
                for row in decided(job, shard, source, found.account):
                    totals.decide(row)
                    table.add(row)
                    if row.reason is not None:
                        write(_line_of(row))


def _ledgers(job: Job, source: Source, proof: Proof) -> Iterator[tuple[Shard, Ledger]]:
    return ((shard, found) for shard in job.shards if (found := ledger(job, shard, source, proof)) is not None)


def write_lists(job: Job, proof: Proof, lines: Books, folder: Path) -> None:
    """The lists of what is held out, replaced and refused."""
    joined = read_joined(job)
    with corpus(job) as files:
        write_heldout((files[number] for number in singly(joined.held)), folder / "heldout.jsonl")
    write_lines(_redactions(job, proof, lines), folder / "redactions.jsonl")
    with _Refused(folder / _PARTS) as refused:
        refused.add(lines)
    refused.join(folder / _REFUSED, [{"miner": Jsonl.kind} | _decision_line(each) for each in lines.tally.decisions])


def write_clusters(job: Job, path: Path, room: Memory) -> None:
    """The groups of files that are nearly the same, a line each: the one that stays, and the others by repository and path."""
    joined, before = read_joined(job), -1
    with path.open("w", encoding="utf-8") as file, corpus(job) as files:
        for part in ordered(_gone(job, files, joined), _GONE, room, keys=2):
            for keeper, number in zip(singly(part["keeper"]), singly(part["number"]), strict=True):
                if keeper == before:
                    file.write(", ")
                else:
                    file.write("]}\n" * (before >= 0) + f'{{"keeper": {_json(_place_of(files[keeper]))}, "left_out": [')
                about = {
                    "similarity": round(float(joined.similarity[number]), 4),
                    "reason": "copy" if joined.exact[number] else "near_copy",
                }
                file.write(_json(_place_of(files[number]) | about))
                before = keeper
        file.write("]}\n" * (before >= 0))


def _gone(job: Job, files: Spools[SourceFile], joined: Joined) -> Iterator[NDArray[np.void]]:
    """The files that went for others, each with its place in the order of names."""
    for shard in job.shards:
        begin, names = files.begin(shard.number), np.load(job.place("clean", shard) / FACTS)["name"]
        keeper = joined.keeper[begin : begin + len(names)]
        here = np.flatnonzero(keeper >= 0)
        rows = np.empty(len(here), dtype=_GONE)
        rows["keeper"], rows["name"], rows["number"] = keeper[here], begin + names[here], begin + here
        yield rows


def _place_of(file: SourceFile) -> dict[str, Any]:
    return {"repo": file.origin.repo, "path": file.origin.path}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _redactions(job: Job, proof: Proof, lines: Books) -> Iterator[dict[str, Any]]:
    """By repository and path; the files' own places before those of their history."""
    for shard in job.shards:
        review: dict[tuple[str | int, ...], Redaction] = {}
        for source in SOURCES:
            if found := ledger(job, shard, source, proof):
                review = found.account.books.tally.review | review
        yield from (_review_line(review[key]) for key in sorted(review))
    yield from map(_review_line, lines.tally.review.values())


class _Refused:
    """Lines of refused.jsonl, in a file for each miner until all are there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._files: dict[str, IO[str]] = {}

    def __enter__(self) -> _Refused:
        self._folder.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, books: Books) -> None:
        """What the gate's books say was refused, by repository: what was withdrawn afterwards must not come behind the whole shard."""
        for miner, tally in books.gate.tallies.items():
            if miner not in self._files:
                self._files[miner] = self._open.enter_context((self._folder / miner).open("a", encoding="utf-8"))
            for each in sorted(tally.decisions, key=lambda each: each.origin.repo):
                print(json.dumps({"miner": miner} | _decision_line(each), ensure_ascii=False), file=self._files[miner])

    def join(self, path: Path, last: list[dict[str, Any]]) -> None:
        """All of them by miner, and some after them; the parts go."""
        with path.open("w", encoding="utf-8") as whole:
            for part in sorted(self._folder.iterdir()):
                with part.open(encoding="utf-8") as file:
                    shutil.copyfileobj(file, whole)
            whole.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in last)
        shutil.rmtree(self._folder)


def _line_of(row: Row) -> dict[str, Any]:
    line = {"repo": row.repo, "commit": row.commit, "path": row.path, "reason": row.reason}
    return line | ({"detail": row.detail} if row.detail else {})


def _decision_line(each: Decision) -> dict[str, Any]:
    line = {"repo": each.origin.repo, "commit": each.origin.commit, "path": each.origin.path, "reason": each.reason}
    return line | ({"detail": each.detail} if each.detail else {})


def _review_line(each: Redaction) -> dict[str, Any]:
    where = {"repo": each.origin.repo, "commit": each.origin.commit, "path": each.origin.path}
    return where | {"part": each.part, "line": each.line, "kind": each.kind, "shown": each.shown}
