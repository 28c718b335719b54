"""A disk that is full, read-only or in the way: one message with the path and what to write, exit 2, nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from watching import content

from app.__main__ import main as app
from finetune.__main__ import main
from finetune.files import disk_fault
from finetune.run import Run


def put_file(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.write_text("in the way")


def put_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


FOLDER, FILE = "a folder stands where a file belongs; move it away", "a file stands where a folder belongs; move it away"
IN_THE_WAY: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("train", put_folder, "manifest.json", FOLDER),
    ("train", put_folder, "recipe.yaml", "can not be read as text"),
    ("evaluate", Path.unlink, "data/heldout.jsonl", "not there, so there is nothing to measure on; type: finetune build"),
    ("evaluate", put_folder, "answers.jsonl", FOLDER),
    ("compare", put_folder, "data/heldout.jsonl", FOLDER),
    ("export", put_folder, "adapter/base.json", "base.json is missing"),
    ("evaluate", Path.unlink, "adapter/base.json", "base.json is missing"),
    ("serve", Path.unlink, "adapter/base.json", "base.json is missing"),
    ("export", put_file, ".partial-verify", "something of that name stands in the way; move it away"),
    ("export", put_folder, "adapter/adapter_model.safetensors", "adapter/adapter_model.safetensors; type: finetune train"),
]


@pytest.mark.parametrize(("verb", "spoil", "place", "words"), IN_THE_WAY, ids=[f"{case[0]} {case[2]}" for case in IN_THE_WAY])
def test_what_stands_in_the_way_is_named(
    small_run: Run, verb: str, spoil: Callable[[Path], object], place: str, words: str, capsys
) -> None:
    spoil(small_run.folder / place)
    before = content(small_run.folder)
    assert main([verb, str(small_run.folder)]) == 2
    message = capsys.readouterr().err
    assert str(small_run.folder / place.rpartition("/")[0]) in message and Path(place).name in message or words.startswith("the adapter")
    assert words in message and "Traceback" not in message
    del before["manifest.json"]
    assert before.items() <= content(small_run.folder).items()
    assert not set(content(small_run.folder)) - set(before) - {"manifest.json"}


def test_the_playground_says_it_too(small_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    put_folder(small_run.manifest)
    assert app([str(small_run.folder)]) == 2
    assert f"python -m app: {small_run.manifest}: {FOLDER}" in capsys.readouterr().err


def in_a_namespace(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a script that may mount things nobody else sees."""
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = ["unshare", "-Urm", "sh", "-ec", script, "sh", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


# A disk with so many KiB beside the run: $1 the run, $2 a place, $3 KiB beside, the rest the command.
FULL = """
mkdir "$2"; from="$1"; at="$2"; beside="$3"; shift 3
mount -t tmpfs -o size=30m tmpfs "$at"; cp -r "$from" "$at/mine"
mount -o remount,size=$(($(du -sk "$at/mine" | cut -f1) + beside))k "$at"
(cd "$at/mine"; find . | sort) > "$at.before"
set +e; "$@"; echo "ended with $?" >&2; set -e
(cd "$at/mine"; find . | sort) > "$at.after"; diff "$at.before" "$at.after" || true
"""
KEPT_BY_TRAINING = ["./checkpoints", "./checkpoints/metrics.jsonl", "./checkpoints/run.json"]


@pytest.mark.parametrize(
    ("command", "beside", "said", "left"),
    [
        ("train train.max_steps=3", 100, "/checkpoints/.partial: the disk is full; free some room", KEPT_BY_TRAINING),
        ("evaluate", 20, "/report.png: the disk is full; free some room", []),
        ("export", 200, " GB needed; make room", []),
        ("export export=adapter", 200, " GB needed; make room", []),
    ],
)
def test_a_full_disk_is_one_message(small_run: Run, command: str, beside: int, said: str, left: list[str]) -> None:
    at, (verb, *overrides) = small_run.folder.parent.parent / "small", command.split()
    words = [sys.executable, "-m", "finetune", verb, str(at / "mine"), *overrides]
    done = in_a_namespace(FULL, str(small_run.folder), str(at), str(beside), *words)
    assert done.returncode == 0, done.stderr
    assert "ended with 2" in done.stderr and "Traceback" not in done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith(f"finetune {verb}:")]
    assert message.startswith(f"finetune {verb}: {at / 'mine'}") and said in message
    assert [line[2:] for line in done.stdout.splitlines() if line.startswith(("> ", "< "))] == left


READ_ONLY = 'run="$1"; shift; mount --bind "$run" "$run"; mount -o remount,ro,bind "$run"; set +e; "$@"; echo "ended with $?" >&2'


@pytest.mark.parametrize(
    ("verb", "other"), [("train", "train.max_steps=3"), ("evaluate", "evaluate.items=3"), ("export", "export=adapter")]
)
def test_a_read_only_disk_is_one_message(small_run: Run, verb: str, other: str) -> None:
    before = content(small_run.folder)
    done = in_a_namespace(READ_ONLY, str(small_run.folder), sys.executable, "-m", "finetune", verb, str(small_run.folder), other)
    assert "ended with 2" in done.stderr and "Traceback" not in done.stderr
    assert (
        f"finetune {verb}: {small_run.folder}" in done.stderr and "file system is read-only" in done.stderr and "runs=FOLDER" in done.stderr
    )
    assert content(small_run.folder) == before


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: permission denied; give yourself the right to it"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "/a/b: the file system is read-only; write another folder"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; free some room"),
        (OSError(errno.ENOTEMPTY, "Directory not empty", "/a/from", None, "/a/to"), "/a/to: something of that name stands in the way"),
        (PermissionError(errno.EACCES, "Permission denied", b"/a/\xff"), "/a/\udcff: permission denied"),
        (
            shutil.Error([("/a/from", "/a/to", "[Errno 28] No space left on device")]),
            "/a/to: [Errno 28] No space left on device; make room",
        ),
    ],
    ids=["permission", "read-only", "full, without a path", "two paths", "bytes", "a copy"],
)
def test_a_fault_of_the_disk_says_where_and_what_to_write(error: OSError, said: str) -> None:
    assert (disk_fault(error) or "").startswith(said)


def test_a_fault_of_our_own_is_not_put_down_to_the_disk() -> None:
    assert disk_fault(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")) is None
    assert disk_fault(OSError("no number")) is None
    assert disk_fault(PermissionError(errno.EPERM, "Operation not permitted")) is None, "no path: not about a file"
