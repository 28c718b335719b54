"""The stages of a build, and who works on them: this process, several of this machine, or a cluster's (cluster.py)."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import NamedTuple

from finetune.base import read_base
from finetune.data.build.clean import READ, clean
from finetune.data.build.job import Job, Shard, Task, plan_in, read_job, sync
from finetune.data.build.join import join
from finetune.data.build.proof import prove
from finetune.data.build.settle import settle_all
from finetune.data.build.teach import teach
from finetune.data.build.tools import Tools, open_tools
from finetune.errors import DataError
from finetune.files import flush, staged_folder
from finetune.lock import in_turn, share
from finetune.progress import track


class Stage(NamedTuple):
    """A part of the work, on each shard by itself or on all of them together.

    `spent` are the stages and names of what an earlier one has left for it alone: it goes once this one is done.
    """

    name: str
    work: Callable[[Task], None]
    by_shard: bool
    spent: Sequence[tuple[str, str]] = ()


STAGES = (
    Stage("clean", clean, by_shard=True),
    Stage("join", join, by_shard=False),
    Stage("teach", teach, by_shard=True, spent=[("clean", READ)]),
    Stage("settle", settle_all, by_shard=False),
    Stage("prove", prove, by_shard=True),
)


def waiting(stage: Stage, job: Job) -> list[Shard | None]:
    """The shards on which a stage is still to be done; None: all together."""
    shards: list[Shard | None] = [*job.shards] if stage.by_shard else [None]
    return [shard for shard in shards if not job.place(stage.name, shard).exists()]


def perform(stage: Stage, job: Job, tools: Tools, shard: Shard | None, *, alone: bool = False) -> None:
    """One stage on one shard, if it is not done, with a bar if it is `alone` on the terminal.

    Its folder has its name when it is whole and on the disk; a kill before leaves it to be done. Waits for whoever is at the same part.
    """
    place, taken_up = job.place(stage.name, shard), len(job.shards) > 1
    with in_turn(job.folder, doing=place.name):
        if place.exists():
            _clear_spent(stage, job, shard)
            return
        with staged_folder(place) as folder:
            stage.work(Task(job, tools, folder, shard, alone))
            if taken_up:
                sync(folder)
        if taken_up:
            flush(job.folder)
        _clear_spent(stage, job, shard)


def _clear_spent(stage: Stage, job: Job, shard: Shard | None) -> None:
    """Clears what was left for a stage that is done."""
    for earlier, name in stage.spent:
        shutil.rmtree(job.place(earlier, shard) / name, ignore_errors=True)


def _clear_all_spent(stage: Stage, job: Job) -> None:
    """Does so for every shard that is done: a kill may have come before."""
    for shard in job.shards if stage.spent else ():
        if job.place(stage.name, shard).exists():
            _clear_spent(stage, job, shard)


def perform_all(job: Job, tools: Tools) -> None:
    """All stages that are still to be done, by as many processes as the recipe says."""
    with _crew(job.recipe.data.processes) as crew:
        for stage in STAGES:
            left = waiting(stage, job)
            _clear_all_spent(stage, job)
            if len(left) < 2:
                for shard in left:
                    perform(stage, job, tools, shard, alone=True)
            elif crew is None:
                for shard in track(left, label=stage.name, total=len(left)):
                    perform(stage, job, tools, shard)
            else:
                _perform_by(crew, stage, job, [shard for shard in left if shard is not None])


def _perform_by(crew: Executor, stage: Stage, job: Job, shards: list[Shard]) -> None:
    plan = plan_in(job.folder)
    assert plan is not None
    futures = [crew.submit(perform_one, job.folder, plan, stage.name, shard.number) for shard in shards]
    try:
        for future in track(as_completed(futures), label=stage.name, total=len(futures)):
            future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"data.processes: a process was killed in the middle of a shard, mostly for want of memory; what is done is kept: "
            f"type the same again with fewer than data.processes={job.recipe.data.processes}, or in a new run a smaller data.shard_mb"
        ) from error
    finally:
        for future in futures:
            future.cancel()


def perform_one(folder: Path, plan: str, stage: str, number: int | None) -> None:
    """One stage on the shard of this number, if it is not done; `number` None: a stage of all shards.

    Raises DataError when another job than that of the plan lies in the folder, or none.
    """
    with _at_work(folder, plan, f"build: {stage}"):
        job, tools = _opened(folder, plan)
        found = next(each for each in STAGES if each.name == stage)
        perform(found, job, tools, None if number is None else job.shards[number])


@contextmanager
def _at_work(folder: Path, plan: str, doing: str) -> Iterator[None]:
    """The job stays in its folder until the block ends."""
    with ExitStack() as stack:
        with suppress(FileNotFoundError):
            stack.enter_context(share(folder, doing=doing))
        if plan_in(folder) != plan:
            raise DataError(
                f"{folder}: the job of this task is there no more: its dataset has been built, or another job has taken its place "
                "(other commits, another recipe, another version); look at the run, and if it is still to be built, spread it anew"
            )
        yield


@functools.lru_cache(maxsize=1)
def _opened(folder: Path, _: str) -> tuple[Job, Tools]:
    """A job and the tools for it, once in a process for each plan."""
    job = read_job(folder)
    return job, open_tools(job.recipe, read_base(job.recipe.model))


@contextmanager
def _crew(processes: int) -> Iterator[Executor | None]:
    """Processes to work with; None: this one alone."""
    if processes < 2:
        yield None
        return
    # Spawned: a fork of a process with threads, as tokenizers start them, may never come to life.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // processes)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(threads,)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(threads: int) -> None:
    limit_threads(threads)
    _end_with_parent()


def limit_threads(threads: int) -> None:
    """Has the tokenizers of this process, not started yet, work with so many threads, where the environment does not say how many."""
    for name in ("RAYON_NUM_THREADS", "FASTOKENS_BPE_THREADS"):
        os.environ.setdefault(name, str(threads))


def _end_with_parent() -> None:
    """Whoever starts the same build again after a kill must not find a process of the first one still at work."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
