from __future__ import annotations

import io

import pytest
from rich.console import Console

from finetune.doctor import doctor, table


def test_the_doctor_looks_at_everything_and_says_what_to_do() -> None:
    checks = doctor()
    names = [check.name for check in checks]
    assert {"git", "torch on the CPU", "bitsandbytes nf4", "bubblewrap", "memory", "disk here"} <= set(names)
    assert all(check.cure for check in checks if check.standing != "works")
    assert all(check.found for check in checks)


def test_what_the_tests_stand_on_works_here() -> None:
    standing = {check.name: check.standing for check in doctor()}
    assert standing["git"] == standing["bitsandbytes nf4"] == standing["peft"] == "works"


def test_without_git_on_the_path_the_doctor_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    git = next(check for check in doctor() if check.name == "git")
    assert git.standing == "missing" and "install git" in git.cure


def test_the_table_shows_every_check() -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(table(doctor()))
    assert "bubblewrap" in console.export_text()
