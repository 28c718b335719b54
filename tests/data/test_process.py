"""A program started by system calls alone: what it says, how it ends, and that it leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import finetune
from finetune.data.repos.process import CHUNK, Process, own_folder, remove, run

WRITES = "import os, sys; os.write(1, b'a' * 300_000); os.write(2, b'no'); sys.exit(3)"


def test_what_a_program_writes_and_complains_of_is_there_with_its_status() -> None:
    assert run([sys.executable, "-c", WRITES], os.environ) == (3, b"a" * 300_000, b"no")
    assert run(["sh", "-c", "kill -TERM $$"], os.environ)[0] == -15
    assert run(["cat"], os.environ) == (0, b"", b""), "it is given nothing"


def test_one_that_complains_of_more_than_a_pipe_holds_comes_to_its_end() -> None:
    complains = "import os; os.write(2, b'no' * 500_000); os.write(1, b'done')"
    assert run([sys.executable, "-c", complains], os.environ) == (0, b"done", b"no" * 500_000)


@pytest.mark.parametrize("before", ["", "os.close(0); ", "os.close(1); ", "os.close(2); ", "os.closerange(0, 3); "])
def test_it_runs_whatever_files_its_parent_has_open(before: str, tmp_path: Path) -> None:
    _apart(
        f"import os; {before}",
        '\'import os; os.write(1, os.read(0, 9) + bytes(b"out")); os.write(2, b"no")\'',
        "(0, b'out', b'no')",
        tmp_path,
    )


def test_where_ended_programs_are_not_kept_it_is_over_all_the_same(tmp_path: Path) -> None:
    ignored = "import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    _apart(ignored, "'import os; os.write(1, b\"out\")'", "(0, b'out', b'')", tmp_path)
    ended = """
from finetune.data.repos.process import Process
process = Process(["true"], os.environ, stdin=0, complaints=2)
process.output.close()
try:
    while True: os.kill(process._pid, 0)
except ProcessLookupError: process.kill()
assert process.wait() == 0
"""
    subprocess.run([sys.executable, "-c", ignored + ended], check=True, timeout=20)


def _apart(before: str, program: str, expected: str, folder: Path) -> None:
    """Runs a program in an interpreter of its own, and asks for what comes of it."""
    code = f"{before}import sys; from finetune.data.repos.process import run\nfound = run([sys.executable, '-c', {program}], os.environ)\n"
    said = folder / "said"
    code += f"with open({str(said)!r}, 'w') as file: file.write(repr(found))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
    assert said.read_text() == expected


def test_it_sees_the_surroundings_it_is_given_and_no_others() -> None:
    given = {"PATH": os.environ["PATH"], "ONLY": "this"}
    assert run(["sh", "-c", "echo $ONLY$HOME"], given)[1] == b"this\n"


def test_a_program_that_is_not_there_is_an_error_and_leaves_no_descriptor_open(tmp_path: Path) -> None:
    open_before = len([*Path("/dev/fd").iterdir()])
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            run([str(tmp_path / "nothing")], os.environ)
    run(["true"], os.environ)
    assert len([*Path("/dev/fd").iterdir()]) == open_before


def test_a_program_inherits_no_other_file(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        look = f"import os\ntry: os.fstat({file.fileno()})\nexcept OSError: print('closed')"
        assert run([sys.executable, "-c", look], os.environ)[1] == b"closed\n"


def test_one_that_is_killed_has_gone_when_it_was_waited_for(tmp_path: Path) -> None:
    with Path(os.devnull).open("rb") as nothing, (tmp_path / "said").open("wb") as said:
        process = Process(["sh", "-c", "echo ready; exec cat /dev/zero"], os.environ, stdin=nothing.fileno(), complaints=said.fileno())
        assert process.output.readline() == b"ready\n" and process.output.read(CHUNK * 3) == b"\0" * CHUNK * 3
        process.kill()
        process.output.close()
        assert (process.wait(), process.wait()) == (-9, -9)
        process.kill()  # not whoever has its number now
    with pytest.raises(ChildProcessError):
        os.waitpid(process._pid, os.WNOHANG)


def test_a_folder_of_our_own_is_nobody_elses_and_goes_with_all_that_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first, second = own_folder(), own_folder()
    assert {first.parent, second.parent} == {tmp_path} and first != second and first.stat().st_mode & 0o777 == 0o700
    (first / "deep" / "inner").mkdir(parents=True)
    (first / "deep" / "file").write_text("x")
    remove(first)
    assert [*tmp_path.iterdir()] == [second]
    remove(first)  # gone already


@pytest.mark.parametrize("given", [("TMPDIR", "TEMP", "TMP"), ("TEMP", "TMP"), ("TMP",)])
def test_a_folder_of_our_own_is_where_the_system_keeps_such(
    given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    for name in given:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, name)  # relative: git is run elsewhere
    monkeypatch.chdir(tmp_path)
    assert own_folder().parent == tmp_path / given[0]


def test_where_no_folder_can_be_made_the_other_places_of_the_system_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    code = "from finetune.data.repos.process import own_folder, remove; made = own_folder(); print(made.is_dir()); remove(made)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"True\n"


def test_a_history_is_read_without_what_costs_a_start() -> None:
    code = "import sys, finetune.data.repos.log, finetune.data.repos.opening, finetune.data.repos.versions; print(*sys.modules)"
    loaded = {
        *subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(Path(finetune.__file__).parents[1])!r}); {code}"],
            capture_output=True,
            check=True,
            text=True,
        ).stdout.split()
    }
    assert not loaded & {"subprocess", "tempfile", "shutil", "json", "platform", "random", "dataclasses", "pydantic", "inspect"}
