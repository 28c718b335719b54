from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from finetune.doctor import doctor, git_version, table


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
