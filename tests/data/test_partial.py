"""Repositories of which parts are not there: what is beside them must not be lost."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from counting import counted

from finetune.data.repos import open_repository, read_changes, read_files
from finetune.data.repos.log import RETRIED
from finetune.data.tally import Tally

IDENTITY = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false", "-c", "gc.auto=0"]


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, check=True, capture_output=True)
    return os.fsdecode(done.stdout).strip()


def remove(folder: Path, revision: str) -> None:
    oid = git(folder, "rev-parse", revision)
    (folder / ".git/objects" / oid[:2] / oid[2:]).unlink()


def files_of(folder: Path) -> tuple[list[str], Counter[str]]:
    tally = Tally()
    found = sorted(file.origin.path for file in counted(read_files(open_repository(str(folder), "HEAD"), tally), tally))
    assert tally.lost == 0
    return found, tally.dropped


def changes_of(folder: Path) -> tuple[list[str], Counter[str]]:
    tally = Tally()
    found = counted(read_changes(open_repository(str(folder), "HEAD"), tally, limit=None), tally)
    subjects = [change.message.strip() for change in found]
    assert tally.lost == 0
    return subjects, tally.dropped


@pytest.fixture
def layered(make_repository) -> Path:
    start = {"a.py": "a = 0\n", "one/b.py": "b = 0\n", "one/deep/c.py": "c = 0\n", "two/d.py": "d = 0\n", "zoo.py": "z = 0\n"}
    edits = [(f"Edit {path} {turn}", {path: f"x = {turn}\n"}) for turn in (1, 2) for path in ("a.py", "one/deep/c.py", "two/d.py")]
    return make_repository([("Start", start), *edits])


def test_a_missing_folder_costs_what_is_in_it(layered: Path) -> None:
    remove(layered, "HEAD:one/deep")
    assert files_of(layered) == (["a.py", "one/b.py", "two/d.py", "zoo.py"], Counter(missing_tree=1))


def test_a_missing_root_costs_all_files_and_is_counted(layered: Path) -> None:
    remove(layered, "HEAD^{tree}")
    assert files_of(layered) == ([], Counter(missing_tree=1))


def test_the_order_of_paths_is_gits_own_also_around_a_missing_folder(layered: Path) -> None:
    tally = Tally()
    whole = [file.origin.path for file in read_files(open_repository(str(layered), "HEAD"), tally)]
    remove(layered, "HEAD:one/deep")
    left = [file.origin.path for file in read_files(open_repository(str(layered), "HEAD"), tally)]
    assert left == [path for path in whole if path != "one/deep/c.py"]


def test_a_missing_folder_in_the_history_costs_the_commits_beside_it(layered: Path) -> None:
    everything, _ = changes_of(layered)
    assert len(everything) == 6
    remove(layered, "HEAD~3:one/deep")  # of "Edit a.py 2"'s parent, which made it
    found, dropped = changes_of(layered)
    assert dropped == Counter(many_files=1, missing_tree=2)
    assert set(found) < set(everything) and len(found) == 4


def test_a_commit_that_is_not_there_ends_the_history_and_is_counted(layered: Path) -> None:
    remove(layered, "HEAD~4")
    found, dropped = changes_of(layered)
    assert dropped == Counter(missing_commit=1)
    assert set(found) == {"Edit two/d.py 2", "Edit one/deep/c.py 2", "Edit a.py 2"}  # what is behind it can not be known


def test_a_clone_without_folders_is_read_as_far_as_it_goes(layered: Path, tmp_path: Path) -> None:
    git(layered, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--bare", "--filter=tree:0", f"file://{layered}", "treeless")
    treeless = tmp_path / "treeless"
    before = git(treeless, "count-objects", "-v")
    assert files_of(treeless) == ([], Counter(missing_tree=1))
    assert changes_of(treeless) == ([], Counter(missing_tree=7))
    assert git(treeless, "count-objects", "-v") == before


def test_a_sha256_repository_without_a_folder_is_walked(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "new")
    folder = tmp_path / "new"
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    for path in ("a.py", "one/b.py", "two/c.py"):
        (folder / path).write_text(f"# {path}\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Start")
    remove(folder, "HEAD:one")
    assert files_of(folder) == (["a.py", "two/c.py"], Counter(missing_tree=1))


def test_more_broken_commits_than_are_asked_for_at_once(make_repository) -> None:
    folder = make_repository([("Start", {"src/a.py": "a = 0\n", "src/b.py": "b = 0\n"})])
    count = RETRIED + 40
    lines = []
    for number in range(1, count + 1):
        content = f"a = {number}\n"
        start = f"commit refs/heads/main\ncommitter Test <test@localhost> {number} +0000\ndata 4\nEdit\n"
        lines.append(
            start + ("from refs/heads/main^0\n" if number == 1 else "") + f"M 100644 inline src/a.py\ndata {len(content)}\n{content}\n"
        )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input="".join(lines).encode(), check=True)
    for pack in [*(folder / ".git/objects/pack").glob("*.pack")]:
        moved = folder / pack.name
        pack.rename(moved)
        with moved.open("rb") as content_of:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=folder, stdin=content_of, check=True)
    for place in (10, RETRIED + 5):
        remove(folder, f"HEAD~{place}:src")
    found, dropped = changes_of(folder)
    assert dropped == Counter(missing_tree=4, many_files=1)
    assert len(found) == count - 4
