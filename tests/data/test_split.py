from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.repos import Repository
from finetune.data.repos.opening import open_repository
from finetune.data.split import Split, open_split, side
from finetune.errors import FinetuneError
from finetune.recipe import parse_recipe
from finetune.records import Origin

texts = st.text(max_size=20)


@given(texts, texts, texts, texts, st.floats(0, 1), st.integers(0, 2**32))
def test_the_side_depends_on_repository_path_and_seed_alone(repo, path, commit, licence, share, seed):
    one, other = Origin(repo, commit, path, licence), Origin(repo, "another", path)
    assert side(one, valid_share=share, seed=seed) == side(other, valid_share=share, seed=seed)


def test_a_larger_share_only_adds_files():
    origins = [Origin("repo", "commit", f"{i}.py") for i in range(2000)]
    small = {origin for origin in origins if side(origin, valid_share=0.1, seed=0) == "valid"}
    large = {origin for origin in origins if side(origin, valid_share=0.2, seed=0) == "valid"}
    assert small < large
    assert 150 < len(small) < 250


def test_the_ends_of_the_share_are_all_or_nothing():
    origins = [Origin("repo", "commit", f"{i}.py") for i in range(200)]
    assert {side(origin, valid_share=0.0, seed=3) for origin in origins} == {"train"}
    assert {side(origin, valid_share=1.0, seed=3) for origin in origins} == {"valid"}


def test_the_seed_draws_another_split():
    origins = [Origin("repo", "commit", f"{i}.py") for i in range(200)]
    assert [side(origin, valid_share=0.5, seed=0) for origin in origins] != [side(origin, valid_share=0.5, seed=1) for origin in origins]


def dated(folder: Path, day: int, **files: str) -> None:
    """A commit of the files on a day of January 2026, at noon."""
    moment = f"2026-01-{day:02}T12:00:00+00:00"
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    names = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "T"), ("EMAIL", "t@localhost"))}
    names |= {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
    for arguments in (["add", "-A"], ["commit", "-q", "-m", f"Day {day}"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, env=os.environ | names)


@pytest.fixture
def history(tmp_path: Path) -> Repository:
    folder = tmp_path / "project"
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    dated(folder, 1, old="a = 1\n", touched="b = 1\n")
    dated(folder, 10, touched="b = 2\n")
    dated(folder, 20, new="c = 1\n")
    return open_repository(str(folder), "HEAD")


def test_by_repository_all_of_one_falls_on_one_side():
    split = Split("repository", 0.5, seed=0)
    sides = {repo: {split(Origin(repo, "commit", f"{number}.py")) for number in range(20)} for repo in map(str, range(40))}
    assert all(len(found) == 1 for found in sides.values())
    assert {*map(tuple, sides.values())} == {("train",), ("valid",)}


def test_by_date_a_file_is_held_out_when_it_was_touched_since(history: Repository):
    split = open_split([history], by="date", date="2026-01-10", valid_share=0.1, seed=0)
    assert {path: split(Origin("project", history.commit, f"{path}.py")) for path in ("old", "touched", "new")} == {
        "old": "train",
        "touched": "valid",
        "new": "valid",
    }


def test_by_date_a_change_falls_on_the_side_of_its_commit(history: Repository):
    split = open_split([history], by="date", date="2026-01-10", valid_share=0.1, seed=0)
    days = sorted(split.dates["project"].commits.items(), key=lambda commit: commit[1])
    assert [split(Origin("project", oid, "touched.py")) for oid, _ in days] == ["train", "valid", "valid"]


def test_a_day_begins_at_midnight_and_a_moment_is_exact(history: Repository):
    touched = Origin("project", history.commit, "touched.py")
    sides = {
        date: open_split([history], by="date", date=date, valid_share=0.1, seed=0)(touched)
        for date in ("2026-01-10T12:00:00+00:00", "2026-01-10T12:00:01+00:00", "2026-01-10T14:00:00+02:00", "2026-01-11")
    }
    assert [*sides.values()] == ["valid", "train", "valid", "train"]


@pytest.mark.parametrize("split", ["{by: date}", "{by: path, date: 2026-01-01}", "{by: date, date: yesterday}", "{by: author}"])
def test_a_split_that_says_too_little_or_too_much_is_refused(split: str):
    with pytest.raises(FinetuneError, match="data.split"):
        parse_recipe(f"name: x\ndata: {{repositories: [.], split: {split}}}")


def test_a_date_in_yaml_is_kept_as_written():
    assert parse_recipe("name: x\ndata: {split: {by: date, date: 2026-01-31}}").data.split.date == "2026-01-31"
