"""The same dataset under datatrove's executors, and what is said when a task of theirs fails.

Slurm and Ray are real ones of one node, where they are installed: `make test-slow`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from killed import kill_a_worker
from office import commit, git
from slurm import MISSING, one_node
from small_files import modules
from watching import content

from finetune.data.build import WORK, build
from finetune.data.build.cluster import Chain, spread
from finetune.data.report import read_report
from finetune.data.repos import open_repositories
from finetune.errors import DataError
from finetune.recipe import Recipe
from finetune.run import open_run

Make = Callable[..., Recipe]
EACH = 0.0001  # megabytes: a shard for each repository
LOCAL = partial(LocalPipelineExecutor, workers=1)


class Forgiving(LocalPipelineExecutor):
    """Says nothing of tasks that have failed, as datatrove's executor for Ray does."""

    def run(self) -> None:
        with suppress(Exception):
            super().run()


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two repositories to do something to."""
    homes = [tmp_path / name for name in ("one", "other")]
    for home in homes:
        home.mkdir()
        git(home, "init", "-q", "-b", "main")
        commit(home, "Add everything there is", modules(home.name, 6))
    return homes


def test_datatrove_spreads_the_same_work(cut_recipe: Make, expected: dict[str, bytes | None]) -> None:
    recipe = cut_recipe(EACH)
    spread(recipe, LOCAL, tasks=2).run()
    run = open_run(recipe)
    assert content(run.data) == expected
    assert run.done("build") and not (run.folder / WORK).exists()


def test_one_shard_is_nothing_to_spread(cut_recipe: Make) -> None:
    recipe = cut_recipe(256.0)
    with pytest.raises(DataError, match="data.shard_mb: 256.0 leaves one shard"):
        spread(recipe, LOCAL, tasks=2)
    assert not (open_run(recipe).folder / WORK).exists()


@pytest.mark.parametrize("kind", [partial(SlurmPipelineExecutor, time="01:00:00", partition="cpu"), RayPipelineExecutor])
def test_each_stage_waits_for_the_one_before_it(cut_recipe: Make, kind: Callable[..., Any]) -> None:
    executors: list[Any] = [executor for _, executor in spread(cut_recipe(0.015), kind, tasks=2).executors]
    assert [each.world_size for each in executors] == [2, 1, 2, 1, 2, 1]
    assert [each.depends for each in executors] == [None, *executors[:-1]]


def test_a_cluster_builds_the_commits_that_were_there_when_it_was_set_to_work(cut_recipe: Make, pair: list[Path]) -> None:
    recipe = cut_recipe(EACH, repositories=[str(home) for home in pair], miners=["fim"])
    chain = spread(recipe, LOCAL, tasks=1)
    expected = [each.commit for each in open_repositories(recipe.data.repositories, "HEAD")]
    commit(pair[0], "Add more", modules("more", 2))
    chain.run()
    assert [each.commit for each in read_report(open_run(recipe).data / "report.json").repositories] == expected


def test_a_task_works_in_the_folder_where_the_recipe_was_spread(
    cut_recipe: Make, pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = cut_recipe(EACH, repositories=[home.name for home in pair], miners=["fim"]).model_copy(update={"runs": "runs"})
    monkeypatch.chdir(home := pair[0].parent)
    chain = spread(recipe, LOCAL, tasks=1)
    (elsewhere := home / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    chain.run()
    assert (home / "runs" / "made" / "data" / "report.json").exists() and not [*elsewhere.iterdir()]


def test_no_stage_begins_on_parts_that_are_missing(cut_recipe: Make, pair: list[Path], tmp_path: Path) -> None:
    recipe = cut_recipe(EACH, repositories=[str(home) for home in pair], miners=["fim"])
    chain = spread(recipe, partial(Forgiving, workers=1), tasks=2)
    aside = pair[1].rename(tmp_path / "aside")
    with pytest.raises(DataError, match=r"stage clean has ended and is not done; .*/cluster/clean/logs says why"):
        chain.run()
    aside.rename(pair[1])
    assert [path.name for path in (open_run(recipe).folder / WORK).iterdir() if path.is_dir()] == ["clean-000000"]
    spread(recipe, partial(Forgiving, workers=1), tasks=2).run()
    assert open_run(recipe).done("build")


@pytest.mark.parametrize(
    ("kind", "said"), [(LocalPipelineExecutor, "has changed since its build was spread"), (Forgiving, "stage write has ended")]
)
def test_what_changes_under_a_cluster_is_not_built_by_its_last_task_alone(
    cut_recipe: Make, pair: list[Path], tmp_path: Path, kind: Callable[..., Any], said: str
) -> None:
    benchmark = tmp_path / "benchmark.jsonl"
    benchmark.write_text('{"prompt": "def add(one, other): return one + other and then some more words than a few"}\n')
    kept_out = [{"path": str(benchmark), "fields": ["prompt"]}]
    recipe = cut_recipe(EACH, repositories=[str(home) for home in pair], miners=["fim"], decontaminate=kept_out)
    chain = spread(recipe, partial(kind, workers=1), tasks=1)
    benchmark.write_text('{"prompt": "something else altogether, that nobody has asked for in any of the languages there are"}\n')
    with pytest.raises(DataError, match=said):
        chain.run()
    assert not open_run(recipe).data.exists()


slurm_is_here = pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: apt-get install slurmctld slurmd slurm-client munge")


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """What makes executors for a Slurm of one node, this machine."""
    with TemporaryDirectory(prefix="slurm-") as folder, one_node(Path(folder)) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        activate = f"PATH={Path(sys.executable).parent}:$PATH"
        told = {"kill-on-invalid-dep": "yes"}
        yield partial(SlurmPipelineExecutor, time="00:10:00", partition="cpu", mem_per_cpu_gb=1, env_command=activate, sbatch_args=told)


def ended(chain: Chain) -> None:
    """Waits until the last task of a chain has ended, or will never begin."""
    last: Any = chain.executors[-1][1]
    subprocess.run(["srun", "--quiet", f"--dependency=afterany:{last.job_id}", "true"], check=True)


@pytest.mark.slow
@slurm_is_here
def test_slurm_makes_the_same_bytes_also_after_a_kill(
    cut_recipe: Make, expected: dict[str, bytes | None], slurm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = cut_recipe(0.015)
    run = open_run(recipe)
    killed = kill_a_worker(tmp_path, f"{WORK}/teach-000001")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (chain := spread(recipe, slurm, tasks=2)).run()
    ended(chain)
    assert killed.exists() and not run.done("build")
    done = {path.name for path in (run.folder / WORK).iterdir()}
    assert {"clean-000000", "clean-000001", "clean-000002", "join", "teach-000000"} <= done and "teach-000001" not in done
    (chain := spread(recipe, slurm, tasks=2)).run()
    ended(chain)
    assert content(run.data) == expected and run.done("build")


RAY = """
import os, sys
from functools import partial
from pathlib import Path
import ray
from datatrove.executor import RayPipelineExecutor
from finetune.data.build.cluster import spread
from finetune.recipe import load_recipe

ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", object_store_memory=80_000_000, log_to_driver=False)
chain = spread(load_recipe(Path(sys.argv[1])), partial(RayPipelineExecutor, mem_per_cpu_gb=0.5), tasks=2)
if sys.argv[2:]:
    os.rename(*sys.argv[2:])
chain.run()
"""


@pytest.mark.slow
def test_ray_makes_the_same_bytes_also_after_a_task_that_failed(cut_recipe: Make, pair: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="no ray: pip install ray")
    recipe = cut_recipe(EACH, repositories=[str(home) for home in pair], miners=["fim"])
    build(whole := recipe.model_copy(update={"runs": str(tmp_path / "whole")}))
    run = open_run(recipe)
    command = [sys.executable, "-c", RAY, str(run.folder / "recipe.yaml")]
    aside = tmp_path / "aside"
    failed = subprocess.run([*command, str(pair[1]), str(aside)], capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "DataError" in failed.stderr and "stage clean has ended and is not done" in failed.stderr
    aside.rename(pair[1])
    subprocess.run(command, capture_output=True, check=True)
    assert run.done("build") and content(run.data) == content(open_run(whole).data)
