"""STEP build: repositories to packed rows, with a reason for everything left out.

git -> languages -> filters -> redact -> drop copies -> split -> mine -> encode -> pack -> run/data
    files first, then changes: what is held out of the files decides which changes may be trained on
"""

from __future__ import annotations

import difflib
import errno
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

from finetune.base import read_base
from finetune.data.dedup import drop_copies
from finetune.data.filters import keep
from finetune.data.languages import table as linguist
from finetune.data.mine import Mined, mine
from finetune.data.miners import Bench
from finetune.data.pack import pack
from finetune.data.render import Encoder
from finetune.data.report import NO_LICENCE, BuildReport, Counts, Source, Tokens, read_report, table
from finetune.data.repos import Repository, open_repositories, read_changes, read_files
from finetune.data.secrets import Redactor, redact_item
from finetune.data.split import side
from finetune.data.store import write_heldout, write_lines, write_rows
from finetune.data.tally import Tally
from finetune.errors import DataError
from finetune.files import staged_folder, write_json
from finetune.progress import track
from finetune.recipe import DataSection, Recipe
from finetune.records import IGNORED, Change, Item, Origin, Side, SourceFile
from finetune.run import Run, open_run

__all__ = ["BuildReport", "build", "table"]

FORMAT = 1  # raised when the same commits and recipe would give other rows
SIDES: tuple[Side, ...] = ("train", "valid")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}


@dataclass(slots=True)
class Harvest:
    """What a build has gathered so far. `paths` are (repository, path) of every file read, `kept` the origins of those kept."""

    files: Tally = field(default_factory=Tally)
    changes: Tally = field(default_factory=Tally)
    samples: dict[Side, list[Mined]] = field(default_factory=lambda: {side: [] for side in SIDES})
    heldout: list[SourceFile] = field(default_factory=list)
    paths: set[tuple[str, str]] = field(default_factory=set)
    kept: list[Origin] = field(default_factory=list)
    languages: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)


def build(recipe: Recipe) -> BuildReport:
    """Makes run/data, or finds it made of the same commits by the same recipe. Raises DataError when there is nothing to learn from."""
    if not recipe.data.repositories:
        raise DataError("data.repositories: found none; write data.repositories=[PATH] with the folder of a git repository")
    repositories = open_repositories(recipe.data.repositories, recipe.data.ref)
    _check_languages(recipe.data.languages)
    base = read_base(recipe.model)
    encoder = Encoder(base.tokenizer, base.family)
    run = open_run(recipe)
    inputs = {"commits": {each.name: each.commit for each in repositories}, "base": base.digest, "format": FORMAT}
    report = run.data / "report.json"
    if run.done("build") and run.mark("build").get("inputs") == inputs and report.exists():
        return read_report(report)
    try:
        with run.step("build") as notes:
            notes["inputs"] = inputs
            return _write(run, repositories, _gather(recipe, repositories, encoder), encoder)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        place = error.filename or run.data
        raise DataError(f"{place}: can not be written ({error.strerror}); make room there, or write runs=FOLDER on another disk") from error


def _gather(recipe: Recipe, repositories: Sequence[Repository], encoder: Encoder) -> Harvest:
    """All that the recipe's miners make of the repositories."""
    data, harvest = recipe.data, Harvest()
    bench = Bench(encoder, data.row_length, recipe.seed)

    def take(items: Iterable[Item], source: str, tally: Tally) -> None:
        miners = [miner for miner in data.miners if miner.source == source]
        for mined in mine(track(items, label=source), miners, bench, learn=data.learn, tally=tally):
            harvest.samples[_side(mined.origin, recipe)].append(mined)

    take(_files(recipe, repositories, harvest), "files", harvest.files)
    _require_heldout(recipe, harvest)
    if any(miner.source == "history" for miner in data.miners):
        take(_changes(recipe, repositories, harvest), "history", harvest.changes)
    _require_samples(harvest)
    return harvest


def _files(recipe: Recipe, repositories: Iterable[Repository], harvest: Harvest) -> Iterator[Item]:
    found = chain.from_iterable(read_files(repository, harvest.files) for repository in repositories)
    for item in _cleaned(_noted(found, harvest), recipe.data, harvest.files):
        assert isinstance(item, SourceFile)
        harvest.languages[item.language] += 1
        harvest.licences[item.origin.license or NO_LICENCE] += 1
        harvest.kept.append(item.origin)
        if _side(item.origin, recipe) == "valid":
            harvest.heldout.append(item)
        yield item


def _changes(recipe: Recipe, repositories: Iterable[Repository], harvest: Harvest) -> Iterator[Item]:
    limit, tally = recipe.data.history, harvest.changes
    found = chain.from_iterable(read_changes(repository, tally, limit=limit) for repository in repositories)
    names = {(file.origin.repo, PurePosixPath(file.origin.path).name) for file in harvest.heldout}
    texts = {file.text for file in harvest.heldout}
    copies = {(each.origin.repo, each.origin.path) for each in harvest.files.decisions if each.reason == "copy"}
    for item in _cleaned(found, recipe.data, tally):
        assert isinstance(item, Change)
        if _side(item.origin, recipe) == "valid":
            yield item
        elif item.before in texts or item.after in texts:
            tally.drop(item.origin, "held_out_text")
        elif (item.origin.repo, item.origin.path) in copies:
            # What it is a copy of may be held out, and its history would give that away.
            tally.drop(item.origin, "history_of_a_copy")
        elif _is_gone(item.origin, harvest.paths) and (item.origin.repo, PurePosixPath(item.origin.path).name) in names:
            # The readers follow renames they are sure of; of the others, the history could give a held-out file away.
            tally.drop(item.origin, "held_out_before_a_move")
        else:
            yield item


def _cleaned(items: Iterable[Item], data: DataSection, tally: Tally) -> Iterator[Item]:
    """What is wanted, without secrets, once each."""
    redactor = Redactor(data.redaction.allow)
    wanted = keep(_of_languages(items, data.languages, tally), data.filters, tally)
    return drop_copies((redact_item(item, redactor, tally) for item in wanted), tally)


def _of_languages(items: Iterable[Item], languages: Sequence[str], tally: Tally) -> Iterator[Item]:
    for item in items:
        if languages and item.language not in languages:
            tally.drop(item.origin, "other_language")
        else:
            yield item


def _noted(files: Iterable[SourceFile], harvest: Harvest) -> Iterator[SourceFile]:
    for file in files:
        harvest.paths.add((file.origin.repo, file.origin.path))
        yield file


def _is_gone(origin: Origin, paths: set[tuple[str, str]]) -> bool:
    return (origin.repo, origin.path) not in paths


def _side(origin: Origin, recipe: Recipe) -> Side:
    return side(origin, valid_share=recipe.data.valid_share, seed=recipe.seed)


def _write(run: Run, repositories: Sequence[Repository], harvest: Harvest, encoder: Encoder) -> BuildReport:
    """The dataset on disk, whole or not at all."""
    row_length = run.recipe.data.row_length
    rows: dict[Side, int] = {}
    with staged_folder(run.data) as folder:
        for name in SIDES:
            shuffled = (mined.encoded for mined in sorted(harvest.samples[name], key=attrgetter("order")))
            packed = pack(shuffled, row_length=row_length, pad_id=encoder.pad_id)
            rows[name] = write_rows(packed, folder / name, vocabulary_size=encoder.vocabulary_size)
        report = _report(repositories, harvest, rows, row_length=row_length)
        _write_lists(harvest, folder)
        write_json(folder / "report.json", report.as_dict())
    return report


def _write_lists(harvest: Harvest, folder: Path) -> None:
    write_heldout(harvest.heldout, folder / "heldout.jsonl")
    decisions = (harvest.files + harvest.changes).decisions
    lines: Iterator[dict[str, Any]] = (
        {"repo": each.origin.repo, "commit": each.origin.commit, "path": each.origin.path, "reason": each.reason} for each in decisions
    )
    write_lines(lines, folder / "decisions.jsonl")


def _report(repositories: Sequence[Repository], harvest: Harvest, rows: dict[Side, int], *, row_length: int) -> BuildReport:
    together = harvest.files + harvest.changes
    tokens = {name: sum(len(mined.encoded.input_ids) for mined in harvest.samples[name]) for name in SIDES}
    learnt = sum(len(mined.encoded.labels) - mined.encoded.labels.count(IGNORED) for mined in harvest.samples["train"])
    capacity = rows["train"] * row_length
    miners = {mined.miner for name in SIDES for mined in harvest.samples[name]}
    made = {name: Counter(mined.miner for mined in harvest.samples[name]) for name in SIDES}
    return BuildReport(
        repositories=tuple(Source(each.name, each.path, each.commit) for each in repositories),
        items=Counts.of(together),
        files=Counts.of(harvest.files),
        changes=Counts.of(harvest.changes),
        samples={miner: {name: made[name][miner] for name in SIDES} for miner in sorted(miners)},
        rows=rows,
        tokens=Tokens(tokens["train"], tokens["valid"], learnt, capacity - tokens["train"], round(tokens["train"] / capacity, 4)),
        redactions=dict(together.redactions),
        languages=dict(harvest.languages),
        licences=dict(harvest.licences),
        heldout=len(harvest.heldout),
    )


def _check_languages(languages: Iterable[str]) -> None:
    known = linguist().types
    for language in languages:
        if language not in known:
            near = difflib.get_close_matches(language, known, n=1) or [name for name in known if name.lower() == language.lower()]
            hint = f"did you mean {near[0]}?" if near else "write linguist's name, for example Python, TypeScript or C++"
            raise DataError(f"data.languages: found {language!r}; {hint}")


def _require_heldout(recipe: Recipe, harvest: Harvest) -> None:
    data, files = recipe.data, len(harvest.kept)
    if not files:
        raise DataError(
            f"{', '.join(data.repositories)}: not a single usable file among {harvest.files.read} paths ({_reasons(harvest)}); "
            "write data.repositories=[PATH] of a repository with source code, or loosen data.languages and data.filters"
        )
    if not harvest.heldout:
        raise DataError(
            f"data.valid_share: {data.valid_share} holds out none of {files} files, so nothing could be measured; "
            f"{_share_that_splits(recipe, harvest)}"
        )


def _share_that_splits(recipe: Recipe, harvest: Harvest) -> str:
    for share in (0.05, *(tenths / 10 for tenths in range(1, 10))):
        if {side(origin, valid_share=share, seed=recipe.seed) for origin in harvest.kept} == {*SIDES}:
            return f"write data.valid_share={share}"
    return "write data.repositories=[PATH] of repositories with more files"


def _require_samples(harvest: Harvest) -> None:
    cures: dict[Side, str] = {"train": "smaller", "valid": "larger"}
    for name, cure in cures.items():
        if not harvest.samples[name]:
            raise DataError(
                f"nothing is left to {'train on' if name == 'train' else 'validate on'} ({_reasons(harvest)}); "
                f"write a {cure} data.valid_share, add fim to data.miners, or add repositories"
            )


def _reasons(harvest: Harvest) -> str:
    dropped = (harvest.files + harvest.changes).dropped.most_common(5)
    return "dropped: " + ", ".join(f"{reason} {count}" for reason, count in dropped) if dropped else "nothing was dropped"
