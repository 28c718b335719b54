"""What a stage holds in memory: as much as its shard, and the less the smaller that is."""

from __future__ import annotations

import gc
import random
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.base import read_base
from finetune.data.build import build, open_inputs, plan
from finetune.data.build.job import Shard
from finetune.data.build.stages import STAGES, perform
from finetune.recipe import Recipe

Make = Callable[..., Recipe]
REPOSITORIES, FILES, BYTES = 4, 40, 3000
WORDS = ["".join(random.Random(number).choices("abcdefghijklmnopqrstuvwxyz", k=7)) for number in range(4000)]


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four of an eighth of a megabyte each, written by one command."""
    folder = tmp_path_factory.mktemp("many")
    made = []
    for number in range(REPOSITORIES):
        place = folder / f"part{number}"
        subprocess.run(["git", "init", "-q", "-b", "main", place], check=True)
        lines = ["commit refs/heads/main\ncommitter T <t@localhost> 1767225600 +0000\ndata 3\nAll\n"]
        for each in range(FILES):
            draw = random.Random(f"{number} {each}")
            text = f"def part{number}_{each}(value):\n"
            while len(text) < BYTES:
                text += f"    {' = '.join(draw.choices(WORDS, k=3))} + {draw.randrange(1000)}\n"
            lines.append(f"M 100644 inline src/m{each}.py\ndata {len(text)}\n{text}\n")
        subprocess.run(["git", "fast-import", "--quiet"], cwd=place, input="".join(lines).encode(), check=True)
        made.append(place)
    return made


def peaks(recipe: Recipe) -> tuple[dict[str, float], int]:
    """The most megabytes that Python and numpy held more than before, of the shards of a stage, by its name; and how many shards."""
    opened = open_inputs(recipe, read_base(recipe.model))
    job = plan(opened)
    found: dict[str, float] = {}
    for stage in STAGES[:3]:
        shards: list[Shard | None] = [*job.shards] if stage.by_shard else [None]
        for shard in shards:
            gc.collect()
            tracemalloc.start()
            perform(stage, job, opened.tools, shard)
            found[stage.name] = max(found.get(stage.name, 0.0), tracemalloc.get_traced_memory()[1] / 1e6)
            tracemalloc.stop()
    return found, len(job.shards)


def test_what_a_stage_holds_grows_with_its_shard_and_not_with_the_corpus(repositories: list[Path], recipe_of: Make) -> None:
    build(recipe_of(repositories[0], name="warm"))  # tables and caches that stay are made
    alone, _ = peaks(recipe_of(repositories[0], name="alone"))
    parted, four = peaks(recipe_of(*repositories, name="parted", shard_mb=0.05))
    whole, one = peaks(recipe_of(*repositories, name="whole"))
    assert (four, one) == (REPOSITORIES, 1)
    assert parted["clean"] < 0.5 * whole["clean"]
    for stage in ("clean", "teach"):
        assert parted[stage] < 1.3 * alone[stage], stage
