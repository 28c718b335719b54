"""The stages of a build under datatrove's executors: the shards' stages as arrays of tasks, the others as single ones behind them.

    from functools import partial
    from datatrove.executor import SlurmPipelineExecutor
    from finetune.data.build.cluster import spread

    spread(recipe, partial(SlurmPipelineExecutor, time="24:00:00", partition="cpu", mem_per_cpu_gb=8), tasks=200).run()

Needs `pip install octotune[cluster]`, and on every machine the same folder of the run and the same repositories at the same paths.
docs/scaling.md has what each kind of cluster must be told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from finetune.base import read_base
from finetune.data.build import build, open_inputs, planned, working
from finetune.data.build.job import Job, plan_in, plan_of
from finetune.data.build.stages import STAGES, Stage, limit_threads, perform_one, waiting
from finetune.data.repos import Repository
from finetune.errors import DataError
from finetune.lock import hold
from finetune.recipe import Recipe
from finetune.run import Run, open_run

LOGS, WRITE = "cluster", "write"


class Executor(Protocol):
    """What of a datatrove executor is used."""

    def run(self) -> Any: ...


@dataclass(frozen=True)
class Plan:
    """The job of a task: its folder, which job is meant, and the folder that relative paths of the recipe begin in."""

    folder: Path
    digest: str
    home: Path

    @contextmanager
    def settled(self) -> Iterator[None]:
        """In that folder, with the threads that the cluster gives a task; an executor that does not know how many says -1."""
        cores = int(os.environ.get("DATATROVE_CPUS_PER_TASK", "-1"))
        if cores > 0:
            limit_threads(cores)
        with chdir(self.home):
            yield


@dataclass(frozen=True)
class OfRank:
    """A step of a pipeline: one stage on every so-manieth shard."""

    of: Plan
    stage: str
    shards: int

    def __call__(self, _: object, rank: int, world_size: int) -> None:
        with self.of.settled():
            for number in range(rank, self.shards, world_size):
                perform_one(self.of.folder, self.of.digest, self.stage, number)


@dataclass(frozen=True)
class Together:
    """A step of a pipeline: one stage on all shards."""

    of: Plan
    stage: str

    def __call__(self, *_: object) -> None:
        with self.of.settled():
            perform_one(self.of.folder, self.of.digest, self.stage, None)


@dataclass(frozen=True)
class Finish:
    """The last step: the dataset, out of what the others have left. A repository may have other commits by then."""

    of: Plan
    recipe: Recipe = field(repr=False)  # the logs have enough lines
    repositories: Sequence[Repository] = field(repr=False)

    def __call__(self, *_: object) -> None:
        with self.of.settled():
            self._finish()

    def _finish(self) -> None:
        opened = open_inputs(self.recipe, read_base(self.recipe.model), self.repositories)
        if plan_of(planned(opened)) != self.of.digest:
            raise DataError(
                f"{opened.run.folder}: what the recipe names has changed since its build was spread (a benchmark, conversations, "
                "an opt-out list, the base or the version of octotune), so the parts are of no use; spread it anew"
            )
        build(self.recipe, self.repositories)


@dataclass(frozen=True)
class Chain:
    """Executors, each of which waits for the one before it."""

    job: Job
    logs: Path
    executors: Sequence[tuple[Stage | None, Executor]]
    inputs: Mapping[str, Any]  # what the dataset is to be made from

    def run(self) -> None:
        """Runs them, or where they only queue their tasks, queues them. Raises DataError when a stage has ended with parts not done."""
        from datatrove.executor import SlurmPipelineExecutor

        for stage, executor in self.executors:
            try:
                executor.run()
            except KeyError:  # so datatrove 0.10 ends under Ray when a task has used up its time
                if self._done(stage):
                    raise
            if not (isinstance(executor, SlurmPipelineExecutor) or self._done(stage)):
                name = stage.name if stage else WRITE
                raise DataError(
                    f"{self.job.folder}: stage {name} has ended and is not done; {self.logs / name / 'logs'} says why; "
                    "what is done is kept: mend it, and spread the recipe anew"
                )

    def _done(self, stage: Stage | None) -> bool:
        if stage:
            return not waiting(stage, self.job)
        run = Run(self.job.folder.parent, self.job.recipe)
        return run.done("build") and run.mark("build").get("inputs") == self.inputs


def spread(recipe: Recipe, executor: Callable[..., Executor], *, tasks: int) -> Chain:
    """A chain of executors that build the recipe's dataset; its `run` runs them all. `tasks`: how many work at once.

    Cuts the shards here and now. What is done already is not done again: after a failure, make the chain anew and run it.
    """
    opened = open_inputs(recipe, read_base(recipe.model))
    opened.run.make()
    with hold(opened.run.folder, doing="build"), working(opened) as job:
        if len(job.shards) == 1:
            raise DataError(f"data.shard_mb: {recipe.data.shard_mb} leaves one shard, so there is nothing to spread; write a smaller one")
        digest, logs = plan_in(job.folder), opened.run.folder.absolute() / LOGS
    assert digest is not None
    open_run(recipe)
    of, chain = Plan(job.folder, digest, Path.cwd()), list[tuple[Stage | None, Executor]]()
    for stage in (*STAGES, None):
        made = executor(
            pipeline=[Finish(of, job.recipe, opened.repositories) if stage is None else _step(of, stage, job)],
            tasks=min(tasks, len(job.shards)) if stage and stage.by_shard else 1,
            logging_dir=str(logs / (stage.name if stage else WRITE)),
            depends=chain[-1][1] if chain else None,
            skip_completed=False,  # of another job by the same name; our own marks say what is done
        )
        chain.append((stage, made))
    return Chain(job, logs, chain, opened.inputs)


def _step(of: Plan, stage: Stage, job: Job) -> OfRank | Together:
    return OfRank(of, stage.name, len(job.shards)) if stage.by_shard else Together(of, stage.name)
