"""The changes of a shard: those to train on give nothing of a held-out file away."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import PurePosixPath
from typing import NamedTuple

from finetune.data.build.clean import READ
from finetune.data.build.job import Task
from finetune.data.build.join import Boundaries, Joined
from finetune.data.build.tools import cleaned, told
from finetune.data.dedup import Match, digest, drop_copies
from finetune.data.miners.commits import ChangeMiner
from finetune.data.repos import read_changes
from finetune.data.repos.aside import Aside
from finetune.data.split import Split
from finetune.data.spool import Spools
from finetune.data.tally import Tally
from finetune.records import Change, Item, Origin, SourceFile


class Held(NamedTuple):
    """What changes may give away, as (repository, path or name): `paths` of all files read, `names` of those held out.

    `shadows` are paths of the files left out because a held-out one is like them.
    """

    paths: set[tuple[str, str]]
    names: set[tuple[str, str]]
    shadows: set[tuple[str, str]]


class Outlook(NamedTuple):
    """What a shard's files and changes are looked at with."""

    files: Spools[SourceFile]
    joined: Joined
    boundaries: Boundaries
    tally: Tally
    split: Split
    held: Held


class Heard(NamedTuple):
    """A change that was read, and why it goes, were it no copy of one in an earlier shard; `reason` empty: it was tried."""

    digest: bytes
    origin: Origin
    reason: str
    detail: str


def heard(task: Task, look: Outlook, tally: Tally) -> Iterator[tuple[Heard, Change | None]]:
    """The shard's changes in their order, without copies among them; whose text is not given may not be trained on.

    Those that are read no further than here are counted, those that are told here are not yet.
    """
    data = task.job.recipe.data
    programs = max((miner.program_files for miner in data.miners if isinstance(miner, ChangeMiner)), default=0)
    selection, limit = task.tools.selection, data.history
    with _taken_up(task) as kept:
        read = (read_changes(each, tally, limit=limit, selection=selection, programs=programs, kept=kept) for each in task.own.repositories)
        for change in drop_copies(_changes(cleaned(chain.from_iterable(read), task.tools, tally)), tally):
            reason, detail = _against(change, look)
            yield Heard(digest(change), change.origin, reason, detail), None if reason else change


@contextmanager
def _taken_up(task: Task) -> Iterator[Aside]:
    """What was read of the shard's files, and room for what a long history reads more than once; that goes at the end."""
    with closing(Aside(task.folder / READ, begin=task.before("clean") / READ)) as kept:
        yield kept
    shutil.rmtree(kept.folder)


def _against(change: Change, look: Outlook) -> tuple[str, str]:
    """Why a change may not be trained on, with a detail; empty where it may."""
    origin, held = change.origin, look.held
    if look.split(origin) == "valid":
        return "", ""
    if match := _nearest(change, look.boundaries):
        file = look.files[int(look.joined.held[match.number])]
        reason = "held_out_text" if file.text in (change.before, change.after) else "near_held_out"
        return reason, told(file.origin, match.similarity)
    if (origin.repo, origin.path) in held.shadows:
        # It went for being like a held-out file, which its history would give away.
        return "history_of_a_copy", ""
    if (origin.repo, origin.path) not in held.paths and (origin.repo, PurePosixPath(origin.path).name) in held.names:
        # The readers follow renames they are sure of; of the others, the history could give a held-out file away.
        return "held_out_before_a_move", ""
    return "", ""


def _changes(items: Iterable[Item]) -> Iterator[Change]:
    for item in items:
        assert isinstance(item, Change)
        yield item


def _nearest(change: Change, boundaries: Boundaries) -> Match | None:
    matches = [match for text in (change.before, change.after) if (match := boundaries.nearest(text))]
    return max(matches, key=lambda match: (match.similarity, -match.number), default=None)
