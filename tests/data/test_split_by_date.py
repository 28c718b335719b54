"""Splits by date of histories as they are: with merges, with parts that are not there, built to the end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adversarial import module
from conftest import MakeRecipe

from finetune.data.build import build
from finetune.data.dates import seconds
from finetune.data.repos.opening import open_repository
from finetune.data.split import Dates, Split, open_split, read_dates
from finetune.data.store import read_heldout
from finetune.data.tables import DECISIONS, Row, read_table
from finetune.errors import DataError
from finetune.records import Origin
from finetune.run import open_run

IDENTITY = ["-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false", "-c", "gc.auto=0"]
Git = Callable[..., str]
SHAPE = "def area_{0}(width, height):\n    first = width + {0}\n    return first {1} height\n"


def noon(day: int) -> int:
    return seconds(f"2026-01-{day:02}T12:00:00", end=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=path, check=True)
    return path


@pytest.fixture
def git(folder: Path) -> Git:
    def run(*arguments: str, day: int = 1, fails: bool = False) -> str:
        moment = f"2026-01-{day:02}T12:00:00+00:00"
        dated = os.environ | {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        done = subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, check=not fails, capture_output=True, env=dated)
        return done.stdout.decode().strip()

    return run


@pytest.fixture
def commit(folder: Path, git: Git) -> Callable[..., None]:
    def make(day: int, message: str = "Change what is there", **files: str) -> None:
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", message, day=day)

    return make


def dates_of(folder: Path) -> Dates:
    return read_dates(open_repository(str(folder), "HEAD"))


def remove(folder: Path, git: Git, revision: str) -> None:
    oid = git("rev-parse", revision)
    (folder / ".git/objects" / oid[:2] / oid[2:]).unlink()


def test_merges_are_read_with_what_they_decide(folder: Path, git: Git, commit: Callable[..., None]) -> None:
    commit(1, a="a = 1\n", b="b = 1\n")
    git("checkout", "-q", "-b", "clean")
    commit(2, clean="c = 1\n")
    git("checkout", "-q", "-b", "fight", "main")
    commit(3, a="a = 'theirs'\n")
    git("checkout", "-q", "main")
    commit(4, a="a = 'ours'\n")
    git("merge", "-q", "--no-ff", "-m", "A clean merge", "clean", day=5)
    git("merge", "-q", "fight", fails=True)
    commit(6, a="a = 'both'\n")
    below = dates_of(folder)
    assert below.files == {"a.py": noon(6), "b.py": noon(1), "clean.py": noon(2)}
    assert sorted(below.commits.values()) == [noon(day) for day in range(1, 7)]
    commit(7, "Nothing at all")
    git("checkout", "-q", "-b", "last")
    commit(8, b="b = 2\n")
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-ff", "-m", "A merge at HEAD", "last", day=9)
    found = dates_of(folder)
    assert found.files == {"a.py": noon(6), "b.py": noon(8), "clean.py": noon(2)}
    assert found.commits[git("rev-parse", "HEAD")] == noon(9) and len(found.commits) == 9 and found.unread is None


def sides(folder: Path, day: int, *paths: str) -> str:
    """t or v for each path of the folder's commit."""
    repository = open_repository(str(folder), "HEAD")
    split = open_split([repository], by="date", date=f"2026-01-{day:02}", valid_share=0.1, seed=0)
    return "".join(split(Origin("project", repository.commit, path))[0] for path in paths)


def test_what_an_unreadable_commit_may_have_touched_is_no_older_than_it(folder: Path, git: Git, commit: Callable[..., None]) -> None:
    commit(1, a="a = 1\n", b="b = 1\n", c="c = 1\n")
    commit(4, a="a = 2\n")
    commit(8, b="b = 2\n")
    commit(12, c="c = 2\n")
    assert [sides(folder, day, "a.py", "b.py", "c.py") for day in (3, 6, 10)] == ["vvv", "tvv", "ttv"]
    remove(folder, git, "HEAD~2^{tree}")  # of day 4: what was touched then and on day 8 can not be told
    assert [sides(folder, day, "a.py", "b.py", "c.py") for day in (3, 6, 10)] == ["vvv", "vvv", "ttv"]


def test_what_lies_before_a_missing_commit_is_no_younger_than_what_is_read(folder: Path, git: Git, commit: Callable[..., None]) -> None:
    commit(1, a="a = 1\n", b="b = 1\n")
    commit(4, a="a = 2\n")
    commit(8, b="b = 2\n")
    commit(12, b="b = 3\n")
    remove(folder, git, "HEAD~3")  # so HEAD~2 can not be told from what was before it
    assert [sides(folder, day, "a.py", "b.py") for day in (6, 10)] == ["vv", "tv"]
    remove(folder, git, "HEAD~1")
    assert dates_of(folder).commits[git("rev-parse", "HEAD")] == noon(12)
    assert [sides(folder, day, "a.py", "b.py") for day in (10, 13)] == ["vv", "tt"]


def test_a_commit_without_a_date_is_as_old_as_can_be(folder: Path, git: Git, commit: Callable[..., None]) -> None:
    commit(1, a="a = 1\n")
    raw = "\n".join(
        ["committer T" if line.startswith("committer") else line for line in git("cat-file", "commit", "HEAD").splitlines()] + [""]
    )
    command = ["git", "hash-object", "-t", "commit", "--literally", "-w", "--stdin"]
    oid = subprocess.run(command, cwd=folder, check=True, capture_output=True, input=raw.encode()).stdout.decode().strip()
    git("update-ref", "refs/heads/main", oid)
    assert dates_of(folder).files == {"a.py": 0}


def modules(day: int) -> dict[str, str]:
    return {f"m{day}_{number}": module(f"part{day}_{number}") for number in range(5)}


@pytest.fixture
def grown(folder: Path, git: Git, commit: Callable[..., None]) -> Path:
    """Files of ten days, a function changed on days 3 and 13, and a branch merged on day 14."""
    commit(1, "Add the shapes", **{f"shape{number}": SHAPE.format(number, "+") for number in (1, 2)}, **modules(1))
    commit(3, "Multiply the sides of every rectangle", shape1=SHAPE.format(1, "*"))
    commit(5, "Add more of it", **modules(5))
    git("checkout", "-q", "-b", "side")
    commit(11, "Add what comes late", **modules(11))
    git("checkout", "-q", "main")
    commit(13, "Multiply the sides of the other rectangle", shape2=SHAPE.format(2, "*"))
    git("merge", "-q", "--no-ff", "-m", "Merge the side", "side", day=14)
    return folder


def build_by_date(recipe_of: MakeRecipe, folder: Path, date: str, **data: Any) -> tuple[Any, dict[str, str], list[Row]]:
    recipe = recipe_of(folder, split={"by": "date", "date": date}, **data)
    report = build(recipe)
    folder = open_run(recipe).data
    rows = [*read_table(Row, folder / DECISIONS)]
    return report, {file.origin.path: file.text for file in read_heldout(folder / "heldout.jsonl")}, rows


def test_a_build_by_date_holds_out_what_came_since(grown: Path, git: Git, recipe_of: MakeRecipe) -> None:
    commits = {"kind": "commits", "max_tokens": 2000}
    report, held, rows = build_by_date(recipe_of, grown, "2026-01-10", miners=["fim", commits], near_duplicates={"enabled": False})
    late = {f"{name}.py" for name in modules(11)} | {"shape2.py"}
    assert {*held} == late and report.split.crossing == 0 and report.files.kept == 17
    sides = {row.path: row.side for row in rows if row.kind == "file"}
    assert {path for path, side in sides.items() if side == "valid"} == late
    days = {git("rev-parse", "HEAD~1"): "valid", git("rev-parse", "HEAD~3"): "train"}
    assert {row.commit: row.side for row in rows if row.kind == "commit" and row.samples} == days


@pytest.mark.parametrize(("missing", "lost"), [("HEAD~3^{tree}", "missing_tree"), ("HEAD~4", "missing_commit")])
def test_a_build_by_date_of_a_damaged_history_is_built_and_counted(
    grown: Path, git: Git, recipe_of: MakeRecipe, missing: str, lost: str
) -> None:
    remove(grown, git, missing)
    report, held, _ = build_by_date(recipe_of, grown, "2026-01-10", miners=["fim", "commits"])
    assert {f"{name}.py" for name in modules(11)} <= {*held} and "m5_0.py" not in held
    assert report.changes.dropped[lost] > 0 and report.split.crossing == 0


def test_a_history_that_tells_no_date_is_held_out_whole(grown: Path, git: Git, recipe_of: MakeRecipe) -> None:
    remove(grown, git, "HEAD^1")
    with pytest.raises(DataError, match="nothing is left to train on"):
        build_by_date(recipe_of, grown, "2026-01-10")


def test_a_file_that_no_commit_names_has_the_date_of_the_commit_read() -> None:
    split = Split("date", 0.1, 0, start=5, dates={"r": Dates("head", {"head": 7}, {"a.py": 3})})
    assert [split(Origin("r", "head", path)) for path in ("a.py", "b.py")] == ["train", "valid"]
