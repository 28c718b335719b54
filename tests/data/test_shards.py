"""A build in parts: the same bytes however it is cut and whoever works on it, also after a kill."""

from __future__ import annotations

import io
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from killed import kill
from watching import content

from finetune.base import read_base
from finetune.data.build import WORK, build, open_inputs, plan, planned
from finetune.data.build.clean import READ
from finetune.data.build.job import cut, plan_of
from finetune.data.build.stages import perform_all, perform_one
from finetune.data.report import BuildReport, read_report
from finetune.data.repos import open_repositories
from finetune.recipe import Recipe
from finetune.run import open_run

Make = Callable[..., Recipe]
Made = dict[str, bytes | None]
WHOLE = 256.0  # megabytes: all of it
SIZES = (0.0001, 0.015, 0.026)


def made(recipe: Recipe) -> Made:
    """The dataset of a recipe, byte by byte."""
    build(recipe)
    run = open_run(recipe)
    assert not (run.folder / WORK).exists()
    return content(run.data)


@pytest.fixture
def report(whole: Recipe) -> BuildReport:
    return read_report(open_run(whole).data / "report.json")


def test_shards_are_whole_repositories_in_their_order(village: list[Path]) -> None:
    repositories = open_repositories([str(each) for each in village], "HEAD")
    counts = []
    for shard_mb in (*SIZES, WHOLE):
        shards = cut(repositories, shard_mb=shard_mb)
        assert [each for shard in shards for each in shard.repositories] == repositories
        assert [shard.number for shard in shards] == [*range(len(shards))]
        counts.append(len(shards))
    assert counts[0] == len(village) > counts[1] > counts[2] > counts[3] == 1


def test_the_village_has_what_shards_could_get_wrong(report: BuildReport) -> None:
    assert {"copy", "near_copy"} <= set(report.files.dropped)
    assert {"copy", "held_out_text", "near_held_out", "near_train", "history_of_a_copy"} <= set(report.changes.dropped)
    refused = Counter[str]()
    for counts in report.instructions.values():
        refused.update(counts.dropped)
    assert refused["same_question"] and refused["same_answer"]
    assert {"fim", "repository", "docstrings", "unit_tests", "commits", "jsonl"} <= set(report.samples)
    assert report.lines.dropped["near_held_out"] == 1 and report.redactions["aws_key"]


@pytest.mark.parametrize("shard_mb", SIZES[:2])
def test_the_dataset_does_not_depend_on_how_it_is_cut(cut_recipe: Make, expected: Made, shard_mb: float) -> None:
    assert made(cut_recipe(shard_mb)) == expected


def test_nor_where_near_copies_stay(cut_recipe: Make) -> None:
    data = {"near_duplicates": {"enabled": False}, "miners": ["commits"], "packing": False}
    recipe = cut_recipe(SIZES[0], **data)
    assert made(recipe) == made(cut_recipe(WHOLE, **data))
    assert read_report(open_run(recipe).data / "report.json").files.dropped["near_held_out"]


def test_two_processes_make_the_same_bytes(cut_recipe: Make, expected: Made) -> None:
    assert made(cut_recipe(SIZES[1], processes=2)) == expected


class Terminal(io.StringIO):
    """Standard error as somebody looks at it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("shard_mb", [SIZES[1], WHOLE])
def test_one_bar_at_a_time_is_shown(cut_recipe: Make, monkeypatch: pytest.MonkeyPatch, shard_mb: float) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    build(cut_recipe(shard_mb, miners=["fim"]))
    shown = {label for label in ("reading", "files", "clean", "teach") if label in terminal.getvalue()}
    assert shown == ({"reading", "files"} if shard_mb == WHOLE else {"clean", "teach"})


def stamps(folder: Path) -> dict[str, int]:
    """When the files of each finished part were made."""
    parts = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: max(each.stat().st_mtime_ns for each in path.iterdir() if each.is_file()) for path in parts}


@pytest.mark.parametrize(("stage", "count"), [("clean", 3), ("teach", 5)])
def test_a_build_that_was_killed_goes_on_without_doing_a_shard_again(cut_recipe: Make, expected: Made, stage: str, count: int) -> None:
    recipe = cut_recipe(SIZES[0])
    kill(recipe, "os.rename", f"{WORK}/{stage}-*", count)
    run = open_run(recipe)
    before = stamps(run.folder / WORK)
    assert sum(name.startswith(f"{stage}-") for name in before) == count - 1
    assert not run.data.exists()
    opened = open_inputs(recipe, read_base(recipe.model))
    perform_all(job := plan(opened), opened.tools)
    after = stamps(job.folder)
    assert len(after) > len(before)
    assert {name: after[name] for name in before} == before
    assert made(recipe) == expected


@pytest.mark.parametrize("by_task", [False, True], ids=["at once", "task by task"])
def test_a_kill_before_spent_copies_are_cleared_leaves_none_of_them(cut_recipe: Make, expected: Made, by_task: bool) -> None:
    recipe = cut_recipe(SIZES[0])
    kill(recipe, "shutil.rmtree", f"{WORK}/clean-*/{READ}", 2)
    opened = open_inputs(recipe, read_base(recipe.model))
    job, digest = plan(opened), plan_of(planned(opened))
    left = {path.parent.name.removeprefix("clean-") for path in job.folder.glob(f"clean-*/{READ}")}
    done = {path.name.removeprefix("teach-") for path in job.folder.glob("teach-*")}
    assert len(left & done) == 1 and left - done
    if by_task:
        for shard in job.shards:
            perform_one(job.folder, digest, "teach", shard.number)
    else:
        perform_all(job, opened.tools)
    assert len(list(job.folder.glob("teach-*"))) == len(job.shards)
    assert not list(job.folder.glob(f"clean-*/{READ}"))
    assert made(recipe) == expected


def test_a_kill_while_the_dataset_is_written_leaves_nothing_that_is_written_twice(cut_recipe: Make, expected: Made) -> None:
    recipe = cut_recipe(SIZES[1])
    kill(recipe, "os.rename", "made/data")
    assert not open_run(recipe).data.exists()
    assert made(recipe) == expected


def test_a_kill_while_the_parts_are_cleared_leaves_a_build_that_is_done(cut_recipe: Make) -> None:
    recipe = cut_recipe(SIZES[1], miners=["fim"])
    kill(recipe, "shutil.rmtree", f"{WORK}-old")
    run = open_run(recipe)
    assert run.done("build") and (run.folder / f"{WORK}-old").exists()
    assert not build(recipe).fresh
    assert sorted(path.name for path in run.folder.iterdir()) == ["data", "manifest.json", "recipe.yaml"]


def test_another_recipe_does_not_go_on_where_this_one_was_left(cut_recipe: Make) -> None:
    recipe = cut_recipe(SIZES[1], miners=["fim"])
    perform_all(plan(opened := open_inputs(recipe, read_base(recipe.model))), opened.tools)
    other = recipe.model_copy(update={"seed": 1})
    assert not stamps(plan(open_inputs(other, read_base(other.model))).folder)


def test_a_build_goes_on_where_its_base_was_moved_to_and_not_on_another(cut_recipe: Make, byte_base: Path, tmp_path: Path) -> None:
    recipe = cut_recipe(SIZES[1], miners=["fim"])
    perform_all(job := plan(opened := open_inputs(recipe, read_base(recipe.model))), opened.tools)
    before, moved = stamps(job.folder), tmp_path / "moved"
    shutil.copytree(byte_base, moved)
    there = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": str(moved)})})
    again = plan(open_inputs(there, read_base(there.model)))
    assert before and stamps(again.folder) == before and again.recipe == there
    (moved / "model.safetensors").write_bytes((8).to_bytes(8, "little") + b"{}      ")
    assert not stamps(plan(open_inputs(there, read_base(there.model))).folder)
