"""One writer of a folder at a time, and a lock that dies with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from watching import content

from finetune.__main__ import main
from finetune.errors import FinetuneError
from finetune.lock import LOCK, hold, holder, share
from finetune.recipe import parse_recipe
from finetune.run import Run, open_run

HOLD = """
import sys
from pathlib import Path
from finetune import lock
with getattr(lock, sys.argv[3])(Path(sys.argv[1]), doing=sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""
Holding = Callable[[Path, str], subprocess.Popen[str]]


@contextmanager
def held_by_another(folder: Path, doing: str, how: str = "hold") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `folder`, or shares it, until its standard input is closed, or it is killed."""
    command = [sys.executable, "-c", HOLD, str(folder), doing, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


@pytest.fixture
def holding() -> Iterator[Holding]:
    with ExitStack() as stack:
        yield lambda folder, doing: stack.enter_context(held_by_another(folder, doing))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose build and train are done, as far as its folder says."""
    made = open_run(parse_recipe("name: a", [f"runs={tmp_path}"]))
    for step, result in (("build", made.data), ("train", made.adapter)):
        with made.step(step):
            result.mkdir()
    return made


def test_nobody_holds_a_folder_that_was_given_back(tmp_path: Path) -> None:
    with hold(tmp_path, doing="train"):
        found = holder(tmp_path)
        assert found is not None and (found.pid, found.doing) == (os.getpid(), "train")
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == [], "a lock leaves nothing behind"


def test_a_held_folder_is_refused_to_everybody_else(tmp_path: Path, holding: Holding) -> None:
    process = holding(tmp_path, "train")
    for _ in range(2):  # a refusal does not break the lock
        with (
            pytest.raises(FinetuneError, match=rf"{tmp_path}: in use by process {process.pid} .*train.* since 20.*; wait"),
            hold(tmp_path, doing="build"),
        ):
            pass


def test_the_lock_of_a_killed_process_blocks_nobody(tmp_path: Path, holding: Holding) -> None:
    process = holding(tmp_path, "train")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK).exists(), "a kill leaves the file; it must not matter"
    assert holder(tmp_path) is None
    with hold(tmp_path, doing="build"):
        pass


@pytest.mark.parametrize(
    "end", [lambda process: process.communicate(), lambda process: (process.kill(), process.wait())], ids=["ends", "killed"]
)
def test_who_is_refused_by_those_who_share_is_told_one_that_is_still_there(tmp_path: Path, end: Callable[..., object]) -> None:
    """The lock's file used to name whoever had come last, though it had ended; a killed one leaves its name behind."""
    with held_by_another(tmp_path, "build: clean", "share") as first, held_by_another(tmp_path, "build: mine", "share") as second:
        for ended, other in ((second, first), (first, None)):
            end(ended)
            if other is not None:
                with (
                    pytest.raises(FinetuneError, match=rf"in use by process {other.pid} .*\(build: clean\)"),
                    hold(tmp_path, doing="clear"),
                ):
                    pass
        with hold(tmp_path, doing="clear"):
            found = holder(tmp_path)
            assert found is not None and found.pid == os.getpid()
    assert list(tmp_path.iterdir()) == [], "what killed ones left goes with the next holder"


def test_those_who_share_a_folder_do_not_tell_of_one_that_held_it_and_was_killed(tmp_path: Path, holding: Holding) -> None:
    killed = holding(tmp_path, "train")
    killed.kill()
    killed.wait()
    with (
        share(tmp_path, doing="build: clean"),
        pytest.raises(FinetuneError, match=rf"in use by process {os.getpid()} "),
        hold(tmp_path, doing="build"),
    ):
        pass


def test_a_lock_is_given_back_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold(tmp_path, doing="train"):
        raise RuntimeError
    assert holder(tmp_path) is None


@pytest.mark.parametrize("doing", ["build", "train", "evaluate", "export"])
@pytest.mark.parametrize("verb", ["train", "evaluate", "export"])
def test_a_second_writer_of_a_run_gets_one_message_and_changes_nothing(run: Run, holding: Holding, capsys, verb: str, doing: str) -> None:
    """What the other does first is to take its own step's mark away."""
    if doing != "export":
        run._unmark(doing)
    process, before = holding(run.folder, doing), None
    before = content(run.folder)
    assert main([verb, str(run.folder), "train.max_steps=3"]) == 2
    message = capsys.readouterr().err
    assert f"in use by process {process.pid}" in message and "Traceback" not in message
    assert message.count("\n") == 1
    assert content(run.folder) == before


def test_a_second_build_of_a_run_gets_one_message(run: Run, holding: Holding, make_repository, capsys) -> None:
    repository = make_repository([("Add", {f"{n}.py": f"def f{n}(x):\n    return x + {n}\n" * 9 for n in range(12)})])
    process = holding(run.folder, "train")
    before = content(run.folder)
    for change in ([], ["seed=3"]):
        assert main(["build", str(run.folder), f"data.repositories=[{repository}]", *change]) == 2
        assert f"in use by process {process.pid}" in capsys.readouterr().err
    assert content(run.folder) == before


def test_who_only_reads_a_run_is_not_blocked(run: Run, holding: Holding) -> None:
    holding(run.folder, "export")
    again = open_run(run.recipe)
    again.require("train", error=FinetuneError)
    assert again.done("build")


def test_the_other_processes_of_a_launcher_leave_the_writing_to_the_first(run: Run, holding: Holding, monkeypatch) -> None:
    """Rank 0 holds the run; rank 1 opens the same run and is not refused."""
    holding(run.folder, "train")
    monkeypatch.setenv("RANK", "1")
    before = content(run.folder)
    assert open_run(run.recipe.model_copy(update={"seed": 9})).folder == run.folder
    assert content(run.folder) == before
