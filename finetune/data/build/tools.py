"""The tools of a build, and what files and changes share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from finetune.base import BaseFolder
from finetune.data.benchmark_files import read_benchmark, read_benchmarks
from finetune.data.decontaminate import Benchmarks, decontaminated
from finetune.data.dialogues import Dialogues, open_dialogues
from finetune.data.filters import keep
from finetune.data.miners.jsonl import Jsonl
from finetune.data.render import Encoder
from finetune.data.repos import Selection, select
from finetune.data.secrets import Redactor, open_redactor, redact_item
from finetune.data.tally import Tally
from finetune.recipe import DataSection, Recipe
from finetune.records import Item, Origin, Side

SIDES: tuple[Side, ...] = ("train", "valid")


class Tools(NamedTuple):
    """What every stage of a build works with, made from the recipe alone: every process has its own."""

    recipe: Recipe
    selection: Selection
    benchmarks: Benchmarks
    redactor: Redactor
    encoder: Encoder


def open_tools(recipe: Recipe, base: BaseFolder) -> Tools:
    """The tools of a recipe. Raises FinetuneError when it names something that can not be used."""
    redaction = recipe.data.redaction
    encoder = Encoder(base.tokenizer, base.family)
    redactor = open_redactor(redaction.allow, redaction.model)
    return Tools(recipe, selection_of(recipe.data), benchmarks_of(recipe.data), redactor, encoder)


def selection_of(data: DataSection) -> Selection:
    """What of the repositories a recipe wants."""
    return select(include=data.include, exclude=data.exclude, since=data.since, opt_out=data.opt_out)


def benchmarks_of(data: DataSection) -> Benchmarks:
    """The benchmarks a recipe keeps out."""
    read = [read_benchmark(each.path, fields=each.fields, min_characters=each.min_characters) for each in data.decontaminate]
    return read_benchmarks(read)


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
