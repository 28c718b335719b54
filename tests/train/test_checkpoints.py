"""A checkpoint as it comes to the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from finetune.train.checkpoints import seal


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss of power behind the renaming would leave a name with nothing in it."""
    flushed, flush, rename = set[Path](), os.fsync, Path.rename
    (staged := tmp_path / ".partial" / "checkpoint-4" / "inner").mkdir(parents=True)
    for path in (staged / "deep.pt", staged.parent / "optimizer.pt"):
        path.write_bytes(b"state")

    def flushing(descriptor: int) -> None:
        flush(descriptor)
        flushed.add(Path(f"/proc/self/fd/{descriptor}").readlink())

    def renamed(self: Path, target: Path) -> Path:
        if self == staged.parent:
            assert {self, *self.rglob("*")} <= flushed
            flushed.clear()
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "rename", renamed)
    assert seal(staged.parent, tmp_path) == tmp_path / "checkpoint-4"
    assert flushed == {tmp_path}, "and the name after it"
