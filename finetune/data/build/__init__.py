"""STEP build: repositories to packed rows, with a reason for everything left out.

git -> languages -> filters -> benchmarks -> redact -> copies and near-duplicates -> split -> mine -> encode -> proof -> pack -> run/data
    files first, then changes: what is held out of the files decides which changes may be trained on
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from finetune.base import BaseFolder, read_base
from finetune.data.build.checks import check_languages
from finetune.data.build.gather import gather
from finetune.data.build.handing import hand_on
from finetune.data.build.harvest import Tools, benchmarks_of, dialogues_of, selection_of
from finetune.data.build.write import write
from finetune.data.render import Encoder
from finetune.data.report import BuildReport, read_report, table
from finetune.data.repos import open_repositories
from finetune.data.secrets import open_redactor
from finetune.data.split import open_split
from finetune.errors import DataError
from finetune.recipe import Recipe
from finetune.run import open_run

__all__ = ["BuildReport", "build", "table"]

FORMAT = 4  # raised when the same commits and recipe would give other rows
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}


def build(recipe: Recipe) -> BuildReport:
    """Makes run/data, or finds it made of the same commits by the same recipe. Raises DataError when there is nothing to learn from.

    What data.exports names is written anew in either case.
    """
    base = read_base(recipe.model)
    encoder = Encoder(base.tokenizer, base.family)
    report = _dataset(recipe, base, encoder)
    with _named():
        return replace(report, handed=hand_on(open_run(recipe), base, encoder))


def _dataset(recipe: Recipe, base: BaseFolder, encoder: Encoder) -> BuildReport:
    if not recipe.data.repositories:
        raise DataError("data.repositories: found none; write data.repositories=[PATH] with the folder of a git repository")
    repositories = open_repositories(recipe.data.repositories, recipe.data.ref, at=recipe.data.at)
    check_languages(recipe.data.languages)
    run = open_run(recipe)
    selection, benchmarks, dialogues = selection_of(recipe.data), benchmarks_of(recipe.data), dialogues_of(recipe)
    redactor = open_redactor(recipe.data.redaction.allow, recipe.data.redaction.model)
    inputs = {
        "commits": {each.name: each.commit for each in repositories},
        "base": base.digest,
        "redaction_model": redactor.model_digest,
        "opt_out": selection.opt_out.digest,
        "benchmarks": benchmarks.digest,
        "dialogues": [each.digest for each in dialogues],
        "format": FORMAT,
    }
    report = run.data / "report.json"
    if run.done("build") and run.mark("build").get("inputs") == inputs and report.exists():
        return read_report(report)
    with _named(), run.step("build") as notes:
        notes["inputs"] = inputs
        split = recipe.data.split
        sides = open_split(repositories, by=split.by, date=split.date, valid_share=recipe.data.valid_share, seed=recipe.seed)
        tools = Tools(recipe, sides, selection, benchmarks, redactor, dialogues)
        harvest = gather(repositories, tools, encoder, folder=run.folder)
        made = write(run, repositories, harvest, encoder=encoder, split=sides)
        notes |= {"tokenizer_engine": made.engine, "shards": dict(made.shards)}
        return made


@contextmanager
def _named() -> Iterator[None]:
    """A disk without room, or without the right to it, is the user's to mend."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        place = error.filename or "the run's folder"
        raise DataError(f"{place}: can not be written ({error.strerror}); make room there, or write runs=FOLDER on another disk") from error
