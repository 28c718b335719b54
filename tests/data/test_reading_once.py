"""What git is asked for: each distinct version of a file once, however many paths and commits share it; and at what start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from finetune.data.repos import open_repository, read_changes, read_files
from finetune.data.tally import Tally


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


def test_a_version_is_read_once_however_many_commits_have_it_before_or_after(make_repository, asked: Path) -> None:
    versions = ["x = 1\n", "x = 2\n", "x = 1\n", "x = 3\n", "x = 2\n"]
    folder = make_repository([(f"Turn {turn}", {"a.py": text}) for turn, text in enumerate(versions)])
    changes = list(read_changes(open_repository(str(folder), "HEAD"), Tally(), limit=None))
    assert [(change.before, change.after) for change in reversed(changes)] == list(zip(versions, versions[1:], strict=False))
    assert sorted(Counter(asked.read_text().split()).values()) == [1, 1, 1]


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
