"""All that the recipe's miners make of the repositories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from finetune.data.build.changes import gather_changes
from finetune.data.build.checks import require_heldout, require_samples
from finetune.data.build.files import gather_files
from finetune.data.build.harvest import Harvest, Tools
from finetune.data.build.lines import mix
from finetune.data.build.proof import prove
from finetune.data.mine import Mined, mine
from finetune.data.miners import Bench
from finetune.data.render import Encoder
from finetune.data.repos import Repository
from finetune.data.spool import Spool, open_spool
from finetune.progress import track
from finetune.records import Change, Item, Origin, SourceFile


def gather(repositories: Sequence[Repository], tools: Tools, encoder: Encoder, *, folder: Path) -> Harvest:
    """Files first, then changes: what is held out of the files decides which changes may be trained on. Texts wait in `folder`."""
    data, harvest = tools.recipe.data, Harvest()
    bench = Bench(encoder, data.row_length, tools.recipe.seed, side=tools.split)
    with open_spool(folder, SourceFile) as files, open_spool(folder, Change) as taught:
        kept, boundary = gather_files(track(repositories, label="reading"), tools, harvest, files)
        require_heldout(tools, harvest)
        _store(_mined((files[number] for number in kept), "files", tools, bench, harvest), tools, harvest)
        if any(miner.source == "history" for miner in data.miners):
            watched = _Watched(gather_changes(repositories, tools, harvest, boundary), taught)
            _store(watched.noting(_mined(watched, "history", tools, bench, harvest)), tools, harvest)
        prove(harvest, tools, files=(files[number] for number in kept), taught=taught)
        mix(harvest, tools, bench, boundary)
    require_samples(harvest)
    return harvest


def _mined(items: Iterable[Item], source: Literal["files", "history"], tools: Tools, bench: Bench, harvest: Harvest) -> Iterator[Mined]:
    data, tally = tools.recipe.data, harvest.files if source == "files" else harvest.changes
    miners = [miner for miner in data.miners if miner.source == source]
    return mine(track(items, label=source), miners, bench, learn=data.learn, tally=tally, gate=harvest.gate)


def _store(found: Iterable[Mined], tools: Tools, harvest: Harvest) -> None:
    for mined in found:
        harvest.samples[tools.split(mined.origin)].append(mined)


class _Watched:
    """Changes on their way to the miners; those that samples are made of are put aside."""

    def __init__(self, changes: Iterable[Change], taught: Spool[Change]) -> None:
        self._changes, self._taught = changes, taught
        self._recent: dict[Origin, Change] = {}
        self._mined = False

    def __iter__(self) -> Iterator[Change]:
        for change in self._changes:
            if self._mined:  # the miners are through with what they had taken
                self._recent.clear()
                self._mined = False
            self._recent[change.origin] = change
            yield change

    def noting(self, found: Iterable[Mined]) -> Iterator[Mined]:
        """The samples as they come."""
        for mined in found:
            self._mined = True
            if change := self._recent.pop(mined.origin, None):
                self._taught.append(change)
            yield mined
