"""The changes of a build: those to train on give nothing of a held-out file away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import PurePosixPath

from finetune.data.build.harvest import Harvest, Tools, cleaned, told
from finetune.data.dedup import Boundary, Match, drop_copies
from finetune.data.miners.commits import ChangeMiner
from finetune.data.repos import Repository, read_changes
from finetune.records import Change, Item


def gather_changes(repositories: Iterable[Repository], tools: Tools, harvest: Harvest, boundary: Boundary) -> Iterator[Change]:
    """The changes of both sides, each of the others with its reason."""
    limit, tally = tools.recipe.data.history, harvest.changes
    programs = max((miner.program_files for miner in tools.recipe.data.miners if isinstance(miner, ChangeMiner)), default=0)
    read = (read_changes(each, tally, limit=limit, selection=tools.selection, programs=programs) for each in repositories)
    found = chain.from_iterable(read)
    names = {(file.origin.repo, PurePosixPath(file.origin.path).name) for file in harvest.heldout}
    for change in drop_copies(_changes(cleaned(found, tools, tally)), tally):
        origin = change.origin
        if tools.split(origin) == "valid":
            yield change
        elif match := _nearest(change, boundary):
            reason = "held_out_text" if harvest.heldout[match.number].text in (change.before, change.after) else "near_held_out"
            tally.drop(origin, reason, told(harvest.heldout[match.number].origin, match.similarity))
        elif (origin.repo, origin.path) in harvest.shadows:
            # It went for being like a held-out file, which its history would give away.
            tally.drop(origin, "history_of_a_copy")
        elif (origin.repo, origin.path) not in harvest.paths and (origin.repo, PurePosixPath(origin.path).name) in names:
            # The readers follow renames they are sure of; of the others, the history could give a held-out file away.
            tally.drop(origin, "held_out_before_a_move")
        else:
            yield change


def _changes(items: Iterable[Item]) -> Iterator[Change]:
    for item in items:
        assert isinstance(item, Change)
        yield item


def _nearest(change: Change, boundary: Boundary) -> Match | None:
    matches = [match for text in (change.before, change.after) if (match := boundary.nearest(text))]
    return max(matches, key=lambda match: (match.similarity, -match.number), default=None)
