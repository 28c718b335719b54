"""STEP build: repositories to packed rows, with a reason for everything left out.

git -> languages -> filters -> benchmarks -> redact -> copies and near-duplicates -> split -> mine -> encode -> proof -> pack -> run/data
    files first, then changes: what is held out of the files decides which changes may be trained on

The work is parted into shards and stages (job.py); the rows do not depend on how.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from finetune.base import BaseFolder, read_base
from finetune.data.build.checks import check_languages
from finetune.data.build.handing import hand_on
from finetune.data.build.job import Job, cut, plan_in, plan_of, read_job, write_job
from finetune.data.build.stages import perform_all
from finetune.data.build.tools import Tools, dialogues_of, open_tools
from finetune.data.build.write import write
from finetune.data.dialogues import Dialogues
from finetune.data.report import BuildReport, read_report, table
from finetune.data.repos import Repository, open_repositories
from finetune.errors import DataError, FinetuneError
from finetune.files import STAGED
from finetune.lock import hold
from finetune.recipe import Recipe
from finetune.recipe.digest import step_digest
from finetune.run import Run, open_run, run_to_change, versions

__all__ = ["BuildReport", "build", "table"]

FORMAT = 14  # raised when the same commits and recipe would give other rows
WORK = f"{STAGED}build"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}


class Opened(NamedTuple):
    """What a recipe names, looked at before any work: the run, the repositories at their commits, the tools, and all of it in digests."""

    run: Run
    repositories: Sequence[Repository]
    tools: Tools
    dialogues: Sequence[Dialogues]
    inputs: Mapping[str, Any]


def build(recipe: Recipe, repositories: Sequence[Repository] | None = None) -> BuildReport:
    """Makes run/data, or finds it made of the same commits by the same recipe. Raises DataError when there is nothing to learn from.

    What data.exports names is written anew in either case. `repositories`: see `open_inputs`.
    """
    base = read_base(recipe.model)
    opened = open_inputs(recipe, base, repositories)
    report = _dataset(opened)
    with _named():
        return replace(report, handed=hand_on(opened.run, base, opened.tools.encoder))


def open_inputs(recipe: Recipe, base: BaseFolder, repositories: Sequence[Repository] | None = None) -> Opened:
    """Looks at everything a recipe names for its dataset. Raises FinetuneError at what can not be used.

    `repositories` are its own, opened before, at the commits they had then; None: as they are now.
    """
    if not recipe.data.repositories:
        raise DataError("data.repositories: found none; write data.repositories=[PATH] with the folder of a git repository")
    if repositories is None:
        repositories = open_repositories(recipe.data.repositories, recipe.data.ref, at=recipe.data.at)
    check_languages(recipe.data.languages)
    run = run_to_change(recipe)
    tools, dialogues = open_tools(recipe, base), dialogues_of(recipe)
    inputs = {
        "commits": {each.name: each.commit for each in repositories},
        "base": base.digest,
        "redaction_model": tools.redactor.model_digest,
        "opt_out": tools.selection.opt_out.digest,
        "benchmarks": tools.benchmarks.digest,
        "dialogues": [each.digest for each in dialogues],
        "format": FORMAT,
    }
    return Opened(run, repositories, tools, dialogues, inputs)


def _dataset(opened: Opened) -> BuildReport:
    run, report = opened.run, opened.run.data / "report.json"
    there = report.exists() and (run.data / "heldout.jsonl").is_file()
    if there and run.done("build") and run.mark("build").get("inputs") == opened.inputs:
        _clear(open_run(run.recipe))  # what a kill after the last mark has left
        return read_report(report)
    run.make()
    with _named(), hold(run.folder, doing="build"), working(opened) as job, run.step("build", held=True) as notes:
        notes["inputs"] = opened.inputs
        perform_all(job, opened.tools)
        made = write(run, job, opened.tools, opened.dialogues)
        notes |= {"tokenizer_engine": made.engine, "shards": dict(made.shards)}
    _clear(run)
    return made


@contextmanager
def working(opened: Opened) -> Iterator[Job]:
    """The job of a build, new or taken up again. One of several shards stays in the run's folder, whatever ends the block."""
    job = plan(opened)
    try:
        yield job
    finally:
        if len(job.shards) == 1:
            discard(job.folder)


def plan(opened: Opened) -> Job:
    """The job that lies in the run's folder, where it is the same work and can be taken up; else a new one in its place.

    Raises FinetuneError when another one lies there, and tasks of a cluster are at work on it.
    """
    folder, inputs = work_of(opened.run), planned(opened)
    if plan_in(folder) == plan_of(inputs):
        job = read_job(folder)
        if len(job.shards) > 1:
            job = replace(job, recipe=opened.run.recipe)
            write_job(job, inputs)
            return job
    discard(folder)
    job = Job(folder, opened.run.recipe, cut(opened.repositories, shard_mb=opened.run.recipe.data.shard_mb))
    try:
        write_job(job, inputs)
    except OSError:
        discard(folder)
        raise
    return job


def planned(opened: Opened) -> Mapping[str, Any]:
    """What a job is made from: no other one is taken up. Parts of another version of the package are not, either."""
    run = opened.run
    recipe = step_digest(run.recipe, "build", anywhere=True)  # the base's files are in the inputs
    known = {"inputs": opened.inputs, "recipe": recipe, "shard_mb": run.recipe.data.shard_mb}
    return known | {"version": versions()["octotune"]}


def work_of(run: Run) -> Path:
    """Where the parts of a run's build lie until its dataset is written."""
    return run.folder.absolute() / WORK


def _clear(run: Run) -> None:
    """Clears the parts of a build that is done, where no other process works on the run by now."""
    folder = work_of(run)
    if folder.exists() or _old(folder).exists():
        with suppress(FinetuneError), hold(run.folder, doing="build"):
            discard(folder)


def discard(folder: Path) -> None:
    """Clears a job. It loses its name first: half of one that is found after a kill would be taken for the whole.

    Raises FinetuneError when somebody is at work on it.
    """
    old = _old(folder)
    if old.exists():
        shutil.rmtree(old)
    if folder.exists():
        with hold(folder, doing="clear"):
            folder.rename(old)
        shutil.rmtree(old)


def _old(folder: Path) -> Path:
    return folder.with_name(f"{WORK}-old")


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
