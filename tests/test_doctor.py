from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from finetune.doctor import Check, _chromium, _git, _room, _sandbox, _tried, doctor, git_version, table


def test_the_doctor_looks_at_everything_and_says_what_to_do() -> None:
    checks = doctor()
    names = [check.name for check in checks]
    assert {"git", "hyperscan", "fastokens", "torch on the CPU", "bitsandbytes nf4", "peft", "optuna"} <= set(names)
    assert {"engine for serving", "bubblewrap", "chromium", "memory", "disk here"} <= set(names)
    assert all(check.cure for check in checks if check.standing != "works")
    assert all(check.found for check in checks)


def test_what_the_tests_stand_on_works_here() -> None:
    standing = {check.name: check.standing for check in doctor()}
    assert standing["git"] == standing["bitsandbytes nf4"] == standing["peft"] == standing["optuna"] == standing["fastokens"] == "works"


def test_without_git_on_the_path_the_doctor_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    git = next(check for check in doctor() if check.name == "git")
    assert git.standing == "missing" and "install git" in git.cure


def test_a_git_that_is_too_old_is_named_with_the_one_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "git"
    old.write_text("#!/bin/sh\necho git version 2.25.1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    git = next(check for check in doctor() if check.name == "git")
    assert (git.standing, git.found) == ("missing", "git version 2.25.1") and "install git 2.32 or later" in git.cure


def put_script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("#!/bin/sh\necho 'git: libpcre2-8.so.0: not found' >&2\nexit 127\n", "git: libpcre2-8.so.0: not found"),
        ("#!/bin/sh\nexit 1\n", "it ended with 1"),
        ("\x7fELF", "Exec format error"),
    ],
)
def test_a_git_that_does_not_run_is_named_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, found: str
) -> None:
    put_script(tmp_path, "git", script)
    monkeypatch.setenv("PATH", str(tmp_path))
    (git,) = _tried("git", _git)
    assert git.standing == "missing" and found in git.found and f"{tmp_path / 'git'} does not run" in git.cure


@pytest.mark.parametrize(("name", "look"), [("bwrap", _sandbox), ("chromium", _chromium)])
def test_a_program_for_tests_that_does_not_run_is_limited_and_no_librarys_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, look: Callable[[], Iterator[Check]]
) -> None:
    put_script(tmp_path, name, "\x7fELF")
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = _tried(name, look)
    assert found.standing == "limited" and "Exec format error" in found.found and "pip" not in found.cure


def test_a_torch_without_its_cuda_is_a_line_and_not_the_end(tmp_path: Path) -> None:
    """What a wheel for another CUDA raises when it is imported, in a process that has no torch yet."""
    (tmp_path / "torch").mkdir()
    missing = "libcudart.so.12: cannot open shared object file: No such file or directory"
    (tmp_path / "torch" / "__init__.py").write_text(f"raise OSError({missing!r})\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "300"}
    done = subprocess.run([sys.executable, "-m", "finetune", "doctor"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.split()[1:3] == ["torch", "│"]]
    assert missing in line and "pip install --force-reinstall torch" in line
    assert "bubblewrap" in done.stdout, "what needs no torch is looked at"


def test_what_is_small_or_not_there_is_limited_and_says_what_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 3 << 18}
    real = os.sysconf
    assert len(_tried("room", _room)) == 2, "what it needs is imported before the machine changes"
    monkeypatch.setattr(os, "sysconf", lambda name: sizes.get(name) or real(name))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1 << 40, used=0, free=4 << 30))
    monkeypatch.setenv("PATH", str(tmp_path))
    memory, disk = _tried("room", _room)
    assert (memory.standing, disk.standing, disk.found) == ("limited", "limited", "4 GiB free")
    assert memory.found.startswith("3 GiB") and "10" in memory.cure and "runs=FOLDER" in disk.cure
    (bare,) = _tried("bubblewrap", _sandbox)
    assert (bare.standing, bare.found) == ("limited", "no bwrap on the path") and "apt install bubblewrap" in bare.cure
    put_script(tmp_path, "bwrap", "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (barred,) = _tried("bubblewrap", _sandbox)
    assert barred.standing == "limited" and "No permissions" in barred.found and "unprivileged_userns_clone" in barred.cure


@pytest.mark.parametrize(
    ("said", "numbers"), [("git version 2.39.5 (Apple Git-154)", (2, 39, 5)), ("git version 2.45.GIT", (2, 45)), ("", (0,))]
)
def test_a_version_of_git_is_read_as_numbers(said: str, numbers: tuple[int, ...]) -> None:
    assert git_version(said) == numbers


@pytest.mark.parametrize(("module", "name"), [("torch", "torch"), ("optuna.storages", "optuna"), ("hyperscan", "hyperscan")])
def test_a_library_that_is_not_there_is_a_line_of_the_table_and_not_its_end(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    checks = {check.name: check for check in doctor()}
    assert checks[name].standing != "works" and "pip install" in checks[name].cure and name in checks[name].cure
    assert "disk here" in checks or name == "torch"


def test_the_table_shows_every_check() -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(table(doctor()))
    assert "bubblewrap" in console.export_text()


def test_what_stands_in_brackets_is_printed_too() -> None:
    said = io.StringIO()
    cure = "pip install 'octotune[deploy]' for llama.cpp"
    Console(file=said, width=160).print(table([Check("engine", "limited", "no [x] there", cure)]))
    assert cure in said.getvalue() and "no [x] there" in said.getvalue()
