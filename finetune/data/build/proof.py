"""The proof that nothing straddles: every text that is trained on against every text that is held out, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from finetune.data.build.harvest import Harvest, Tools, told
from finetune.data.dedup import Boundary
from finetune.data.report import SplitCheck
from finetune.records import Change, Item, Origin, SourceFile


class _Text(NamedTuple):
    origin: Origin
    text: str
    of_change: bool


def prove(harvest: Harvest, tools: Tools, *, files: Iterable[SourceFile], taught: Iterable[Change]) -> None:
    """Compares the sides as they are now and writes the result into the harvest.

    `files` are those kept, `taught` the changes that samples were made of. A held-out change may still be like something that is trained
    on, as an old version of a file that was copied is: it goes. Raises AssertionError when anything else crosses: earlier stages have left
    that out.
    """
    changes = [*taught]
    held = [_Text(file.origin, file.text, False) for file in harvest.heldout]
    held += _of_changes(change for change in changes if tools.split(change.origin) == "valid")
    boundary = Boundary((each.text for each in held), threshold=tools.recipe.data.near_duplicates.threshold)
    trained = 0
    crossing: dict[int, tuple[Origin, float]] = {}
    for each in _train(files, changes, tools):
        trained += 1
        for match in boundary.all_near(each.text):
            crossing.setdefault(match.number, (each.origin, match.similarity))
    withdrawn = _withdraw(crossing, held, harvest, tools)
    left = [index for index, each in enumerate(held) if not (each.of_change and each.origin in withdrawn)]
    straddling = len(crossing.keys() & set(left))
    assert straddling == 0, f"{straddling} held-out texts are like texts that are trained on"
    harvest.check = SplitCheck(tools.recipe.data.near_duplicates.threshold, trained, len(left), straddling)


def _of_changes(changes: Iterable[Change]) -> Iterator[_Text]:
    for change in changes:
        yield _Text(change.origin, change.before, True)
        yield _Text(change.origin, change.after, True)


def _train(files: Iterable[Item], changes: Iterable[Change], tools: Tools) -> Iterator[_Text]:
    for file in files:
        assert isinstance(file, SourceFile)
        if tools.split(file.origin) == "train":
            yield _Text(file.origin, file.text, False)
    yield from _of_changes(change for change in changes if tools.split(change.origin) == "train")


def _withdraw(crossing: dict[int, tuple[Origin, float]], held: list[_Text], harvest: Harvest, tools: Tools) -> set[Origin]:
    """Takes the held-out changes that cross back; gives their origins."""
    found = {held[index].origin: near for index, near in sorted(crossing.items()) if held[index].of_change}
    for origin, (trained, similarity) in found.items():
        harvest.changes.take_back(origin, "near_train", told(trained, similarity))
    history = {miner.kind for miner in tools.recipe.data.miners if miner.source == "history"}
    samples, withdrawn = harvest.samples["valid"], {miner: harvest.gate.tallies.get(miner) for miner in history}
    harvest.samples["valid"] = [mined for mined in samples if mined.miner not in history or mined.origin not in found]
    for mined in samples:
        if mined.origin in found and (tally := withdrawn.get(mined.miner)):
            tally.take_back(mined.origin, "near_train", told(*found[mined.origin]))
    return {*found}
