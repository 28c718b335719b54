"""Writes are whole or absent, whenever they are cut short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from finetune.files import staged_folder, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.json"
    write_atomic(target, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(target, "new")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_a_folder_appears_whole_and_takes_the_old_ones_place(tmp_path: Path) -> None:
    target = tmp_path / "data"
    for content in ("first", "second"):
        with staged_folder(target) as folder:
            (folder / content).write_text(content)
    assert names(target) == ["second"]
    assert names(tmp_path) == ["data"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with staged_folder(target) as folder:
        (folder / "kept").touch()
    with pytest.raises(RuntimeError), staged_folder(target):
        raise RuntimeError
    assert names(target) == ["kept"]
    assert names(tmp_path) == ["data"]


def test_a_kill_between_the_two_renames_brings_the_old_folder_back(tmp_path: Path) -> None:
    target = tmp_path / "data"
    old = tmp_path / ".partial-old-data"
    old.mkdir()
    (old / "kept").touch()
    (tmp_path / ".partial-data").mkdir()
    with pytest.raises(RuntimeError), staged_folder(target):
        raise RuntimeError
    assert names(target) == ["kept"]
    assert names(tmp_path) == ["data"]
