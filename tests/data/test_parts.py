"""Who works on the parts of a build: one process at a time on each, on the job that was meant, and what is done stays done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from killed import kill_a_worker, stopped
from watching import content

from finetune.base import read_base
from finetune.data.build import WORK, build, open_inputs, plan
from finetune.data.build.job import Job, plan_in
from finetune.data.build.stages import STAGES, _crew, limit_threads, perform, perform_all, perform_one
from finetune.data.build.tools import Tools
from finetune.data.render import Encoder
from finetune.errors import DataError, FinetuneError
from finetune.recipe import Recipe
from finetune.run import open_run

Make = Callable[..., Recipe]
EACH = 0.0001  # megabytes: a shard for each repository
CLEAN = STAGES[0]


def planned(recipe: Recipe) -> tuple[Job, Tools]:
    """The job of a recipe, and the tools for it."""
    opened = open_inputs(recipe, read_base(recipe.model))
    return plan(opened), opened.tools


def work_on(job: Job, number: int) -> tuple[Path, str, str, int]:
    """What a process is given that makes the first stage of a shard."""
    digest = plan_in(job.folder)
    assert digest is not None
    return job.folder, digest, CLEAN.name, number


def parts(folder: Path) -> dict[str, int]:
    """The parts that are done, and when the files of each were."""
    parts = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: max(each.stat().st_mtime_ns for each in path.iterdir() if each.is_file()) for path in parts}


def test_two_processes_are_never_at_the_same_part(cut_recipe: Make) -> None:
    job, _ = planned(cut_recipe(EACH))
    one = stopped(perform_one, work_on(job, 0), ("os.rename", "clean-000000"))
    other = stopped(perform_one, work_on(job, 0), ("open", ".lock-clean-000000"), ("os.mkdir", ".partial-clean-000000"))
    assert one.let_go() == 0
    before = parts(job.folder)
    assert other.let_go() == 0
    assert parts(job.folder) == before and [*before] == ["clean-000000"]


def test_a_job_at_work_is_not_thrown_away(cut_recipe: Make) -> None:
    """Its tasks may be on other machines, and hold no lock of the run."""
    recipe = cut_recipe(EACH)
    job, _ = planned(recipe)
    task = stopped(perform_one, work_on(job, 0), ("os.rename", "clean-000000"))
    other = recipe.model_copy(update={"seed": 1})
    with pytest.raises(FinetuneError, match=rf"in use by process {task.process.pid} .*build: clean"):
        build(other)
    assert task.let_go() == 0
    assert [*parts(job.folder)] == ["clean-000000"]
    assert not parts(planned(other)[0].folder)


def test_a_task_does_not_work_on_another_job_than_its_own(cut_recipe: Make) -> None:
    recipe = cut_recipe(EACH)
    job, _ = planned(recipe)
    task = work_on(job, 0)
    other, _ = planned(recipe.model_copy(update={"seed": 1}))
    with pytest.raises(DataError, match="another job has taken its place"):
        perform_one(*task)
    assert not parts(other.folder)
    build(recipe)
    with pytest.raises(DataError, match="its dataset has been built"):
        perform_one(*task)
    assert not (open_run(recipe).folder / WORK).exists()


def test_parts_of_another_version_are_not_taken_up(cut_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = cut_recipe(EACH)
    job, tools = planned(recipe)
    perform(CLEAN, job, tools, job.shards[0])
    assert parts(planned(recipe)[0].folder)
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "99.0" if name == "octotune" else version(name))
    assert not parts(planned(recipe)[0].folder)


def test_a_worker_that_was_killed_is_told_of_and_loses_one_shard(
    cut_recipe: Make, expected: dict[str, bytes | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = cut_recipe(EACH, processes=2)
    killed = kill_a_worker(tmp_path, f"{WORK}/teach-000002")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(DataError, match="a process was killed in the middle of a shard.*fewer than data.processes=2"):
        build(recipe)
    assert killed.exists()
    folder = open_run(recipe).folder / WORK
    before = parts(folder)
    assert "clean-000004" in before and "teach-000002" not in before
    job, tools = planned(recipe)
    perform_all(job, tools)
    assert {name: stamp for name, stamp in parts(folder).items() if name in before} == before
    build(recipe)
    assert content(open_run(recipe).data) == expected and not folder.exists()


def test_a_part_and_its_name_are_on_the_disk_before_the_next_one_begins(cut_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job, tools = planned(cut_recipe(EACH, miners=["fim"]))
    done: list[str] = []
    flush, rename = os.fsync, os.rename

    def flushed(descriptor: int) -> None:
        flush(descriptor)
        done.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def renamed(self: Path, target: Path) -> Path:
        inside = [self, *self.rglob("*")]
        assert {str(path) for path in inside} <= {*done}
        rename(self, target)
        done.clear()
        return target

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "rename", renamed)
    for stage in STAGES[:2]:
        for shard in job.shards if stage.by_shard else [None]:
            perform(stage, job, tools, shard)
            assert done == [str(job.folder)]
    assert any(path.is_dir() for path in job.place("join").iterdir())


def test_the_tokenizers_of_several_processes_share_the_cores(byte_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("RAYON_NUM_THREADS", "FASTOKENS_BPE_THREADS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with _crew(max(2, len(os.sched_getaffinity(0)))) as crew:
        assert crew is not None
        assert crew.submit(threads_of_tokenizing, byte_base).result() == 1
    for name in names:
        monkeypatch.setenv(name, "3")
    limit_threads(1)
    assert {os.environ[name] for name in names} == {"3"}


def threads_of_tokenizing(base: Path) -> int:
    """How many threads a tokenizer of this process starts."""
    from finetune.families import FAMILIES

    before = len([*Path("/proc/self/task").iterdir()])
    Encoder(base / "tokenizer.json", FAMILIES[0])._texts.many(["def f(x):\n    return x\n" * 50] * 64)
    return len([*Path("/proc/self/task").iterdir()]) - before


def test_the_engine_that_is_told_is_that_of_conversations_too(cut_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = cut_recipe(EACH)
    perform_all(*planned(recipe))
    monkeypatch.setitem(sys.modules, "fastokens", None)
    with pytest.warns(UserWarning, match="fastokens is left aside"):
        report = build(recipe)
    assert report.engine == "tokenizers"


def test_the_most_memory_of_a_step_is_that_of_its_largest_process() -> None:
    script = """
import subprocess, sys
from finetune.run import peak_memory
before = peak_memory()
subprocess.run([sys.executable, "-c", f"b'x' * {before + 100_000_000}"], check=True)
print(before, peak_memory())
"""
    before, after = map(int, subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split())
    assert after > before + 100_000_000  # a process begins with the peak of the one that started it
