"""What git is asked for: each distinct version of a file once, however many paths and commits share it; and at what start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.data.build import build
from finetune.data.repos import open_repository, read_changes, read_files
from finetune.data.repos.git import Blob
from finetune.data.repos.kept import Kept
from finetune.data.repos.trees import list_tree
from finetune.data.tally import Tally
from finetune.recipe import Recipe
from finetune.run import open_run


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets every id `git cat-file` is asked for, written down by a git that stands in front of git."""
    (tmp_path / "bin").mkdir()
    wrapper, log = tmp_path / "bin" / "git", tmp_path / "asked"
    wrapper.write_text(
        f'#!/bin/sh\nreal={shutil.which("git")}\ncase $1 in cat-file) tee -a {log} | $real "$@";; *) exec $real "$@";; esac\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return log


def test_a_blob_is_read_once_however_many_paths_hold_it(make_repository, asked: Path) -> None:
    folder = make_repository([("Start", {"a.py": "x = 1\n", "b/a.py": "x = 1\n", "c.py": "x = 1\n", "d.py": "y = 2\n"})])
    assert len(list(read_files(open_repository(str(folder), "HEAD"), Tally()))) == 4
    assert sorted(Counter(asked.read_text().split()).values()) == [1, 1]


LICENSED = {"a.py": "x = 1\n", "LICENSE.md": "# MIT license\n", "sub/COPYING.txt": "Released under the MIT license.\n"}


@pytest.mark.parametrize("kept", [None, Kept(0), Kept(20), Kept(1 << 20)], ids=["several shards", "no history", "narrow", "room"])
def test_a_licence_that_is_a_file_too_is_read_once_in_every_mode(make_repository, asked: Path, kept: Kept | None) -> None:
    repository = open_repository(str(make_repository([("Start", LICENSED)])), "HEAD")
    files = {file.origin.path: file for file in read_files(repository, Tally(), kept=kept)}
    assert {path: file.text for path, file in files.items()} == LICENSED
    assert files["sub/COPYING.txt"].origin.license == "MIT"
    assert sorted(Counter(asked.read_text().split()).values()) == [1, 1, 1]


def test_files_beside_the_licences_are_not_held_and_a_licence_over_the_limit_is_too_large(make_repository) -> None:
    repository, tally = open_repository(str(make_repository([("Start", LICENSED)])), "HEAD"), Tally()
    assert [file.origin.path for file in read_files(repository, tally, max_bytes=10)] == ["a.py"]
    assert dict(tally.dropped) == {"too_large": 2}


def test_a_version_is_read_once_however_many_commits_have_it_before_or_after(make_repository, asked: Path) -> None:
    versions = ["x = 1\n", "x = 2\n", "x = 1\n", "x = 3\n", "x = 2\n"]
    folder = make_repository([(f"Turn {turn}", {"a.py": text}) for turn, text in enumerate(versions)])
    changes = list(read_changes(open_repository(str(folder), "HEAD"), Tally(), limit=None))
    assert [(change.before, change.after) for change in reversed(changes)] == list(zip(versions, versions[1:], strict=False))
    assert sorted(Counter(asked.read_text().split()).values()) == [1, 1, 1]


def build_of(recipe_of, folder: Path, **data: Any) -> Recipe:
    recipe = recipe_of(folder, miners=["fim", {"kind": "commits"}], row_length=512, **data)
    build(recipe)
    return recipe


def rows_of(recipe: Recipe) -> dict[str, bytes]:
    data = open_run(recipe).data
    return {str(path.relative_to(data)): path.read_bytes() for path in sorted(data.rglob("*.arrow"))}


@pytest.fixture
def changed(make_repository) -> Path:
    """Ten files with two versions each, one of them a licence."""
    names = [*(f"src/part{number}.py" for number in range(9)), "LICENSE.py"]
    text = "# SPDX-License-Identifier: MIT\ndef part_{}(value):\n    return value {} {}\n"
    first = {name: text.format(place, "+", place) for place, name in enumerate(names)}
    turned = [(f"Subtract {name}", {name: text.format(place, "-", place)}) for place, name in enumerate(names)]
    return make_repository([("Start", first), *turned])


def test_a_build_asks_git_once_for_what_is_a_file_and_a_version(changed: Path, recipe_of, asked: Path) -> None:
    build_of(recipe_of, changed)
    assert sorted(Counter(asked.read_text().split()).values()) == [1] * 20


def test_what_there_was_no_room_to_keep_is_read_again_and_the_rows_are_the_same(changed: Path, recipe_of, asked: Path) -> None:
    kept = rows_of(build_of(recipe_of, changed, name="kept"))
    asked.unlink()
    narrow = rows_of(build_of(recipe_of, changed, name="narrow", shard_mb=0.0012))  # room for 300 bytes, four of the files
    assert sorted(Counter(asked.read_text().split()).values()) == [1] * 14 + [2] * 6  # the licence is among the first four
    assert kept == narrow
    assert kept


def test_what_is_kept_is_no_more_than_its_room_and_is_let_go_with_its_history(changed: Path) -> None:
    repository, kept, given = open_repository(str(changed), "HEAD"), Kept(300), []
    assert len(list(read_files(repository, Tally(), kept=kept))) == 10

    def read(oids: list[str]) -> Iterator[Blob]:
        given.append(len(oids))
        return iter([Blob(oid, reason="missing") for oid in oids])

    with repository.store() as store:
        oids = [entry.oid for entry in list_tree(store, repository.commit)]
    found = [blob.content for blob in kept.through(repository.objects, oids, read, 1 << 20)]
    assert 200 < sum(map(len, found)) <= 300
    assert [blob.reason for blob in kept.through(repository.objects, oids, read, 10)].count("too_large") == sum(map(bool, found))
    assert len(list(read_changes(repository, Tally(), limit=None, kept=kept))) == 10
    given.clear()
    assert [blob.reason for blob in kept.through(repository.objects, oids, read, 1 << 20)] == ["missing"] * 10
    assert given == [10]


def test_a_history_is_read_with_the_standard_library_alone() -> None:
    """The start is half of a short history: pydantic alone was a third of it."""
    code = (
        "import sys\n"
        "from finetune.data.repos.log import read_log\n"
        "from finetune.data.repos.opening import open_repository\n"
        "from finetune.data.repos.versions import Versions\n"
        "outside = {name.partition('.')[0] for name in sys.modules if not name.startswith('_')} - sys.stdlib_module_names\n"
        "print(sorted(outside - {'finetune', 'sitecustomize', 'usercustomize'}))\n"
    )
    root = Path(__file__).parents[2]
    shown = subprocess.run([sys.executable, "-S", "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
