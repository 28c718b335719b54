"""What git is asked for: each distinct version of a file once, however many paths and commits share it; and at what start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from watching import content

from finetune.base import read_base
from finetune.data.build import build, open_inputs, plan
from finetune.data.build.clean import READ
from finetune.data.build.stages import STAGES, perform, waiting
from finetune.data.build.tools import open_tools
from finetune.data.repos import history, open_repository, read_changes, read_files
from finetune.data.repos.aside import Aside
from finetune.data.tally import Tally
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


def times_asked(asked: Path) -> list[int]:
    """How often git was asked for each id that it was asked for at all."""
    return sorted(Counter(asked.read_text().split()).values())


def test_a_blob_is_read_once_however_many_paths_hold_it(make_repository, asked: Path) -> None:
    folder = make_repository([("Start", {"a.py": "x = 1\n", "b/a.py": "x = 1\n", "c.py": "x = 1\n", "d.py": "y = 2\n"})])
    assert len(list(read_files(open_repository(str(folder), "HEAD"), Tally()))) == 4
    assert times_asked(asked) == [1, 1]


LICENSED = {"a.py": "x = 1\n", "LICENSE.md": "# MIT license\n", "sub/COPYING.txt": "Released under the MIT license.\n"}


@pytest.mark.parametrize("with_history", [False, True])
def test_a_licence_that_is_a_file_too_is_read_once(make_repository, asked: Path, tmp_path: Path, with_history: bool) -> None:
    repository = open_repository(str(make_repository([("Start", LICENSED)])), "HEAD")
    with closing(Aside(tmp_path / "read")) as kept:
        files = {file.origin.path: file for file in read_files(repository, Tally(), kept=kept if with_history else None)}
    assert {path: file.text for path, file in files.items()} == LICENSED
    assert files["sub/COPYING.txt"].origin.license == "MIT"
    assert times_asked(asked) == [1, 1, 1]


def test_files_beside_the_licences_are_not_held_and_a_licence_over_the_limit_is_too_large(make_repository) -> None:
    repository, tally = open_repository(str(make_repository([("Start", LICENSED)])), "HEAD"), Tally()
    assert [file.origin.path for file in read_files(repository, tally, max_bytes=10)] == ["a.py"]
    assert dict(tally.dropped) == {"too_large": 2}


def test_a_version_is_read_once_however_many_commits_have_it_before_or_after(make_repository, asked: Path) -> None:
    versions = ["x = 1\n", "x = 2\n", "x = 1\n", "x = 3\n", "x = 2\n"]
    folder = make_repository([(f"Turn {turn}", {"a.py": text}) for turn, text in enumerate(versions)])
    changes = list(read_changes(open_repository(str(folder), "HEAD"), Tally(), limit=None))
    assert [(change.before, change.after) for change in reversed(changes)] == list(zip(versions, versions[1:], strict=False))
    assert times_asked(asked) == [1, 1, 1]


@pytest.fixture
def changed(make_repository) -> Path:
    """Ten files with two versions each, one of them a licence."""
    names = [*(f"src/part{number}.py" for number in range(9)), "LICENSE.py"]
    text = "# SPDX-License-Identifier: MIT\ndef part_{}(value):\n    return value {} {}\n"
    first = {name: text.format(place, "+", place) for place, name in enumerate(names)}
    turned = [(f"Subtract {name}", {name: text.format(place, "-", place)}) for place, name in enumerate(names)]
    return make_repository([("Start", first), *turned])


@pytest.fixture
def neighbours(changed: Path, make_repository) -> list[Path]:
    """The same beside a repository of 15 blobs: six files that turn to and fro, a picture that does, and a licence in UTF-16."""
    text = "def neighbour_{}(value):\n    return value {} {}\n"
    versions = {
        sign: {f"place{place}.py": text.format(place, sign, place) for place in range(6)} | {"a.png": b"\0" + sign.encode()}
        for sign in "+-"
    }
    turns = [(f"Turn {name} to {sign}", {name: versions[sign][name]}) for sign in "-+-" for name in versions[sign]]
    return [changed, make_repository([("Start", versions["+"] | {"sub/LICENSE": "Unknown".encode("utf-16")}), *turns], name="turned")]


DATA: dict[str, Any] = {"miners": ["fim", {"kind": "commits"}], "row_length": 512, "valid_share": 0.2}


def build_of(recipe_of, folders: list[Path], **data: Any) -> dict[str, bytes | None]:
    """The dataset, byte by byte."""
    recipe = recipe_of(*folders, **DATA | data)
    build(recipe)
    return content(open_run(recipe).data)


@pytest.mark.parametrize("shard_mb", [256, 0.0001], ids=["one shard", "several"])
@pytest.mark.parametrize("batch", [history.BATCH, 4], ids=["one batch", "several"])
def test_a_build_asks_git_once_for_each_blob_whatever_holds_it(
    neighbours: list[Path], recipe_of, asked: Path, monkeypatch: pytest.MonkeyPatch, shard_mb: float, batch: int
) -> None:
    monkeypatch.setattr(history, "BATCH", batch)
    build_of(recipe_of, neighbours, shard_mb=shard_mb)
    assert times_asked(asked) == [1] * (20 + 15)


def test_a_build_taken_up_again_asks_for_nothing_that_its_shards_have_read(neighbours: list[Path], recipe_of, asked: Path) -> None:
    whole = build_of(recipe_of, neighbours)
    asked.unlink()
    recipe = recipe_of(*neighbours, runs="parted", shard_mb=0.0001, **DATA)
    opened = open_inputs(recipe, read_base(recipe.model))
    job = plan(opened)
    for stage in STAGES[:3]:
        for shard in waiting(stage, job):
            perform(stage, job, open_tools(recipe, read_base(recipe.model)), shard)
        assert sorted(job.folder.glob(f"*/{READ}/contents")) == [
            place / READ / "contents" for place in job.places("clean") if stage.name != "teach"
        ]
    build(recipe)
    assert content(open_run(recipe).data) == whole
    assert times_asked(asked) == [1] * (20 + 15)


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
