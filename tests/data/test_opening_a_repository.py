from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from finetune.data.build import build
from finetune.data.repos import open_repositories, open_repository, read_files
from finetune.data.tally import Tally
from finetune.errors import DataError
from finetune.recipe import parse_recipe


def git(folder: Path, *arguments: str, when: str = "") -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when} if when else {}
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, env=os.environ | dates)
    return os.fsdecode(done.stdout).strip()


@pytest.fixture
def three(make_repository, tmp_path: Path) -> Path:
    """A folder with two work trees, a bare repository deep below, and things that are none."""
    place = tmp_path / "code"
    for name in ("one", "two"):
        make_repository([("Start", {"a.py": f"{name} = 1\n"})], name=name)
        place.mkdir(exist_ok=True)
        shutil.move(tmp_path / name, place / name)
    (place / "group").mkdir()
    git(place, "clone", "-q", "--bare", str(place / "one"), "group/three.git")
    git(place / "group/three.git", "remote", "remove", "origin")
    (place / "notes").mkdir()
    (place / "file.txt").write_text("x")
    return place


def names(*paths: str) -> list[str]:
    return [repository.name for repository in open_repositories(paths, "HEAD")]


def test_a_pattern_stands_for_every_repository_it_fits(three: Path) -> None:
    assert names(f"{three}/*") == ["one", "two"]
    assert names(f"{three}/**") == ["one", "three", "two"]
    assert names(f"{three}/**/*.git") == ["three"]
    assert names(f"{three}/t?o", f"{three}/one") == ["one", "two"]


def test_a_repository_that_is_named_beside_a_pattern_is_read_once_under_its_name(three: Path) -> None:
    assert names(f"{three}/*", f"mine={three}/one") == ["mine", "two"]
    assert names(f"{three}/*", f"{three}/o*") == ["one", "two"]


def test_a_pattern_that_fits_no_repository_says_so(three: Path) -> None:
    with pytest.raises(DataError, match=r"no\* fits 1 paths, none of them a git repository; write a pattern"):
        names(f"{three}/no*")
    with pytest.raises(DataError, match=r"x\* fits nothing"):
        names(f"{three}/x*")


def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(make_repository, tmp_path: Path) -> None:
    folder = make_repository([("Start", {"a.py": "a = 1\n"})], name="odd[1]*")
    assert names(str(folder)) == ["odd[1]*"]


def test_a_day_gives_what_the_branch_had_by_then(make_repository) -> None:
    folder = make_repository([])
    made = {}
    for day in (1, 3, 5):
        (folder / "a.py").write_text(f"a = {day}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"Day {day}", when=f"2025-03-0{day}T12:00:00+0000")
        made[day] = git(folder, "rev-parse", "HEAD")
    for at, day in [("2025-03-04", 3), ("2025-03-03", 3), ("2025-03-03T11:59:59", 1), ("2025-03-03T13:00:00+01:00", 3), ("2030-01-01", 5)]:
        assert open_repository(str(folder), "HEAD", at=at).commit == made[day]
    with pytest.raises(DataError, match="data.at: no commit is as old as 2025-02-28; its first is of 2025-03-01, write a later day"):
        open_repository(str(folder), "HEAD", at="2025-02-28")
    with pytest.raises(DataError, match="no commit is as old as 0001-01-01"):  # git reads seconds below zero as no bound at all
        open_repository(str(folder), "HEAD", at="0001-01-01")


def test_a_day_is_found_where_older_commits_are_not_there(make_repository) -> None:
    folder = make_repository([])
    made = []
    for day in range(1, 5):
        git(folder, "commit", "-q", "--allow-empty", "-m", f"Day {day}", when=f"2025-03-0{day}T12:00:00+0000")
        made.append(git(folder, "rev-parse", "HEAD"))
    (folder / ".git/objects" / made[1][:2] / made[1][2:]).unlink()
    assert [open_repository(str(folder), "HEAD", at=f"2025-03-0{day}").commit for day in (4, 3)] == [made[3], made[2]]
    with pytest.raises(DataError, match="no commit is as old as 2025-03-02; its first is of 2025-03-03"):
        open_repository(str(folder), "HEAD", at="2025-03-02")


def test_a_branch_that_was_merged_later_was_not_there_yet(make_repository) -> None:
    folder = make_repository([])
    (folder / "a.py").write_text("a = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Main", when="2025-03-01T12:00:00+0000")
    main = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "-q", "-b", "side")
    (folder / "b.py").write_text("b = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Side", when="2025-03-02T12:00:00+0000")
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "--no-ff", "-m", "Merge", "side", when="2025-03-09T12:00:00+0000")
    assert open_repository(str(folder), "HEAD", at="2025-03-05").commit == main


def test_a_repository_of_another_user_is_read(make_repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git calls it dubious ownership; the switch is its own, for its own tests, in front of which stands a git that sets it."""
    folder = make_repository([("Start", {"a.py": "a = 1\n"})])
    real = shutil.which("git")
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "git"
    wrapper.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    refused = subprocess.run(["git", "status"], cwd=folder, capture_output=True, text=True, check=False)
    assert "dubious ownership" in refused.stderr
    assert [file.text for file in read_files(open_repository(str(folder), "HEAD"), Tally())] == ["a = 1\n"]


def test_a_line_break_in_the_path_of_a_repository_is_named(make_repository) -> None:
    folder = make_repository([("Start", {"a.py": "a = 1\n"})], name="two\nlines")
    with pytest.raises(DataError, match="a line break in the path"):
        open_repository(str(folder), "HEAD")


def test_bytes_that_are_no_text_in_a_path_are_named(make_repository) -> None:
    """The path stands in the dataset's report, which is UTF-8."""
    folder = make_repository([("Start", {"a.py": "a = 1\n"})], name=os.fsdecode(b"r\xff"))
    with pytest.raises(DataError, match="bytes in the path that are no UTF-8; move it or write a link to it"):
        open_repository(str(folder), "HEAD")


def test_bytes_that_are_no_text_in_a_remote_do_not_reach_the_name(make_repository) -> None:
    folder = make_repository([("Start", {"a.py": "a = 1\n"})], name="shop")
    git(folder, "config", "remote.origin.url", os.fsdecode(b"https://host/team/sh\xffop.git"))
    opened = open_repository(str(folder), "HEAD")
    assert (opened.name, opened.names) == ("team/sh\\xffop", ("team/sh\\xffop",))


@pytest.mark.parametrize(
    ("key", "value", "found"), [("repositoryformatversion", "99", "repo version"), ("extensions.refstorage", "future", "extension")]
)
def test_a_format_that_git_does_not_know_asks_for_a_newer_git(make_repository, key: str, value: str, found: str) -> None:
    folder = make_repository([("Start", {"a.py": "a = 1\n"})])
    git(folder, "config", "core.repositoryformatversion", "1")
    git(folder, "config", key if "." in key else f"core.{key}", value)
    with pytest.raises(DataError, match=f"{found}.*; install a newer git"):
        open_repository(str(folder), "HEAD")


def test_a_clone_without_its_contents_is_told_how_to_get_them(make_repository, tmp_path: Path) -> None:
    source = make_repository([("Start", {"a.py": "a = 1\n", "b.py": "b = 1\n"})])
    git(source, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--bare", "--filter=blob:none", f"file://{source}", "partial.git")
    recipe = parse_recipe(f"runs: {tmp_path / 'runs'}\ndata: {{repositories: [{tmp_path / 'partial.git'}]}}")
    with pytest.raises(DataError, match=r"dropped: missing 2\); a clone without contents: type git fetch --refetch --no-filter"):
        build(recipe)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Not the superuser, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", [".git", ".git/HEAD", "."], ids=["its .git", "a file in it", "the folder"])
def test_a_repository_that_may_not_be_read_is_not_called_none(make_repository, closed: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # a test's own folder is closed to others, all of it
        place = Path(folder) / "one"
        shutil.move(make_repository([("Start", {"a.py": "one = 1\n"})]), place)
        Path(folder).chmod(0o755)
        (place / closed).chmod(0)
        try:
            with (
                somebody_else(),
                pytest.raises(DataError, match=rf"permission denied at {(place / closed).resolve()}; give yourself the right"),
            ):
                open_repository(str(place), "HEAD")
        finally:
            (place / closed).chmod(0o755)
