"""What a build gathers on its way, and the stages files and changes share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from finetune.data.decontaminate import Benchmarks, decontaminated, read_benchmark
from finetune.data.dialogues import Dialogues, open_dialogues
from finetune.data.filters import keep
from finetune.data.gate import Gate
from finetune.data.mine import Mined
from finetune.data.miners.jsonl import Jsonl
from finetune.data.report import SplitCheck
from finetune.data.repos import Selection, select
from finetune.data.secrets import Redactor, redact_item
from finetune.data.split import Split
from finetune.data.tally import Tally
from finetune.recipe import DataSection, Recipe
from finetune.records import Item, Origin, Side, SourceFile

SIDES: tuple[Side, ...] = ("train", "valid")


@dataclass(slots=True)
class Harvest:
    """What a build has gathered so far. `paths` are (repository, path) of every file read, `kept` the origins of those kept.

    `shadows` are (repository, path) of the files left out because a held-out one is like them. `clusters` are lines of clusters.jsonl.
    `lines` counts those of files of the user's own, the gate what was tried of instructions.
    """

    files: Tally = field(default_factory=Tally)
    changes: Tally = field(default_factory=Tally)
    lines: Tally = field(default_factory=Tally)
    gate: Gate = field(default_factory=Gate)
    samples: dict[Side, list[Mined]] = field(default_factory=lambda: {side: [] for side in SIDES})
    heldout: list[SourceFile] = field(default_factory=list)
    paths: set[tuple[str, str]] = field(default_factory=set)
    kept: list[Origin] = field(default_factory=list)
    shadows: set[tuple[str, str]] = field(default_factory=set)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    check: SplitCheck | None = None


class Tools(NamedTuple):
    """What every stage of a build is given."""

    recipe: Recipe
    split: Split
    selection: Selection
    benchmarks: Benchmarks
    redactor: Redactor
    dialogues: Sequence[Dialogues] = ()  # of the recipe's miners `jsonl`, in their order


def selection_of(data: DataSection) -> Selection:
    """What of the repositories a recipe wants."""
    return select(include=data.include, exclude=data.exclude, since=data.since, opt_out=data.opt_out)


def benchmarks_of(data: DataSection) -> Benchmarks:
    """The benchmarks a recipe keeps out."""
    read = (read_benchmark(each.path, fields=each.fields, min_characters=each.min_characters) for each in data.decontaminate)
    return Benchmarks(chain.from_iterable(read))


def dialogues_of(recipe: Recipe) -> list[Dialogues]:
    """The conversations a recipe mixes in."""
    return [open_dialogues(miner.path, seed=recipe.seed) for miner in recipe.data.miners if isinstance(miner, Jsonl)]


def cleaned(items: Iterable[Item], tools: Tools, tally: Tally) -> Iterator[Item]:
    """What is wanted, of no benchmark, without secrets."""
    data = tools.recipe.data
    wanted = keep(_of_languages(items, data.languages, tally), (*data.filters, data.licences), tally)
    return (redact_item(item, tools.redactor, tally) for item in decontaminated(wanted, tools.benchmarks, tally))


def _of_languages(items: Iterable[Item], languages: Sequence[str], tally: Tally) -> Iterator[Item]:
    for item in items:
        tally.look(item)
        if languages and item.language not in languages:
            tally.drop(item.origin, "other_language")
        else:
            yield item


def told(origin: Origin, similarity: float) -> str:
    """A file and how like it another one is, for a decision."""
    return f"{origin.repo}: {origin.path} ({similarity:.2f})"
