"""The stages of a build under datatrove's executors: the shards' stages as arrays of tasks, the others as single ones behind them.

    from functools import partial
    from datatrove.executor import SlurmPipelineExecutor
    from finetune.data.build.cluster import spread

    spread(recipe, partial(SlurmPipelineExecutor, time="24:00:00", partition="cpu", mem_per_cpu_gb=8), tasks=200).run()

Needs `pip install octotune[cluster]`, and on every machine the same folder of the run and the same repositories at the same paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from finetune.base import read_base
from finetune.data.build import build, open_inputs, plan
from finetune.data.build.stages import STAGES, perform_one
from finetune.data.repos import Repository
from finetune.errors import DataError
from finetune.lock import hold
from finetune.recipe import Recipe

LOGS = "cluster"


class Executor(Protocol):
    """What of a datatrove executor is used."""

    def run(self) -> Any: ...


@dataclass(frozen=True)
class OfRank:
    """A step of a pipeline: one stage on every so-manieth shard."""

    folder: Path
    stage: str
    shards: int

    def __call__(self, _: object, rank: int, world_size: int) -> None:
        for number in range(rank, self.shards, world_size):
            perform_one(self.folder, self.stage, number)


@dataclass(frozen=True)
class Together:
    """A step of a pipeline: one stage on all shards."""

    folder: Path
    stage: str

    def __call__(self, *_: object) -> None:
        perform_one(self.folder, self.stage, None)


@dataclass(frozen=True)
class Finish:
    """The last step: the dataset, out of what the others have left. A repository may have other commits by then."""

    recipe: Recipe
    repositories: Sequence[Repository]

    def __call__(self, *_: object) -> None:
        build(self.recipe, self.repositories)


def spread(recipe: Recipe, executor: Callable[..., Executor], *, tasks: int) -> Executor:
    """The last of a chain of executors that build the recipe's dataset; its `run` runs them all. `tasks`: how many work at once.

    Cuts the shards here and now. What is done already is not done again: after a failure, make the chain anew and run it.
    """
    opened = open_inputs(recipe, read_base(recipe.model))
    with hold(opened.run.folder, doing="build"):
        job = plan(opened)
    shards = len(job.shards)
    if shards == 1:
        raise DataError(f"data.shard_mb: {recipe.data.shard_mb} leaves one shard, so there is nothing to spread; write a smaller one")
    last: Executor | None = None
    steps = [(each.name, OfRank(job.folder, each.name, shards) if each.by_shard else Together(job.folder, each.name)) for each in STAGES]
    for name, step in (*steps, ("write", Finish(recipe, opened.repositories))):
        last = executor(
            pipeline=[step],
            tasks=min(tasks, shards) if isinstance(step, OfRank) else 1,
            logging_dir=str(opened.run.folder.absolute() / LOGS / name),
            depends=last,
            skip_completed=False,  # of another job by the same name; our own marks say what is done
        )
    assert last is not None
    return last
