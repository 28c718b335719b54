"""The numbers behind a filter's or a miner's reason, taken anew from the repository: the same commit gives the same text."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from finetune.base import read_base
from finetune.data.miners import Miner
from finetune.data.render import Encoder
from finetune.data.repos import Repository, read_changes, read_files, select
from finetune.data.repos.opening import expand, open_repository
from finetune.data.tables import Row
from finetune.data.tally import Tally
from finetune.errors import FinetuneError
from finetune.recipe import DataSection, ModelSection, Recipe
from finetune.records import Change, Item, SourceFile
from finetune.registry import Plugin

_SPECIAL = "\\*?[]!# "


def measured(row: Row, recipe: Recipe) -> Iterator[str]:
    """The options of the filter that spoke, and what it looked at; nothing where no filter and no miner did."""
    if row.language is None:
        return  # left out before it was read as text
    try:
        repository = _repository(row, recipe.data)
        item = None if repository is None else _item(row, repository)
    except FinetuneError:
        item = None
    if item is None:
        yield f"{row.repo} can not be read at {row.commit[:12]} any more, so that nothing is measured"
        return
    spoke: list[Plugin] = [each for each in recipe.data.filters if each(item) == row.reason]
    if not spoke and row.kind == "commit" and row.reason not in _NOT_OF_MINERS:
        spoke = [each for each in recipe.data.miners if each.source == "history"]
    for plugin in spoke:
        options = ", ".join(f"{name} {_plain(value)}" for name, value in plugin.model_dump(mode="json").items() if name != "kind")
        yield f"{plugin.kind}: {options or 'no options'}"
    if spoke:
        yield from _numbers(item)
    if isinstance(item, Change) and any(isinstance(plugin, Miner) for plugin in spoke):
        encoder = _encoder(recipe.model)
        yield f"tokens: {len(encoder.text(item.before)):,} before, {len(encoder.text(item.after)):,} after"


@functools.lru_cache(maxsize=1)
def _encoder(model: ModelSection) -> Encoder:
    base = read_base(model)
    return Encoder(base.tokenizer, base.family)


_NOT_OF_MINERS = {
    "benchmark", "copy", "near_held_out", "near_train", "held_out_text", "history_of_a_copy", "held_out_before_a_move", "other_language",
    "unlicensed", "licence_denied", "licence_unknown", "licence_not_permissive", "longer_than_a_row",
}  # fmt: skip


def _repository(row: Row, data: DataSection) -> Repository | None:
    opened = (open_repository(path, "HEAD") for path in expand(data.repositories))
    return next((each._replace(commit=row.commit) for each in opened if each.name == row.repo), None)


def _item(row: Row, repository: Repository) -> Item | None:
    """The file or the change as it was read, before anything was redacted."""
    if row.kind == "commit":
        return next(read_changes(repository, Tally(), limit=1), None)
    pattern = "/" + "".join(f"\\{sign}" if sign in _SPECIAL else sign for sign in row.path)
    wanted = select(include=[pattern], exclude=(), since=None, opt_out=())
    return next(read_files(repository, Tally(), selection=wanted), None)


def _numbers(item: Item) -> Iterator[str]:
    if isinstance(item, SourceFile):
        yield f"it has {_of_text(item.text)}"
        return
    subject = (item.message.strip().splitlines() or [""])[0]
    yield f"before: {_of_text(item.before)}"
    yield f"after: {_of_text(item.after)}"
    yield f"subject: {len(subject)} characters, {len(subject.split())} words"


def _of_text(text: str) -> str:
    lines = text.splitlines() or [""]
    letters = sum(character.isalpha() for character in text) / max(1, len(text))
    return (
        f"{len(text.encode('utf-8', 'surrogatepass')):,} bytes, {len(lines):,} lines, the longest of {max(map(len, lines)):,} characters, "
        f"{len(text) / len(lines):,.0f} on average, {letters:.0%} letters"
    )


def _plain(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list | tuple) else str(value)
