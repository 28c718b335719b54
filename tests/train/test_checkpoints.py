"""A checkpoint as it comes to the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.train.checkpoints import FILES, fault_of, newest, seal


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


CONTENT = {
    "adapter_model.safetensors": b"weights " * 40,
    "optimizer.pt": b"moments " * 40,
    "trainer_state.json": b'{"global_step": 4, "max_steps": 9}',
    "inner/deep.pt": b"state",
}


def sealed(folder: Path, step: int = 4) -> Path:
    staged = folder / ".partial" / f"checkpoint-{step}"
    for name, content in CONTENT.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(content)
    return seal(staged, folder)


def flipped(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\n!"),
    "flipped": flipped,
    "another one's": lambda path: path.write_bytes(b"{}"),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", [*CONTENT, FILES])
def test_a_checkpoint_with_any_file_damaged_is_not_gone_on_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, how: str
) -> None:
    for step in (2, 4):
        sealed(tmp_path, step)
    DAMAGE[how](tmp_path / "checkpoint-4" / name)
    found = newest(tmp_path)
    assert found is not None and found.step == 2
    assert f"{tmp_path / 'checkpoint-4'}: skipped, it is torn" in caplog.text
    assert (tmp_path / "checkpoint-4").exists(), "nothing is removed for it"


def test_a_file_too_many_makes_a_checkpoint_another_one(tmp_path: Path) -> None:
    (sealed(tmp_path) / "more.pt").write_bytes(b"")
    assert newest(tmp_path) is None


def test_no_bit_of_a_checkpoint_s_list_can_turn_unseen(tmp_path: Path) -> None:
    """A list whose own words are damaged ended the training with a KeyError."""
    path = sealed(tmp_path)
    whole = (path / FILES).read_bytes()
    assert fault_of(path) is None
    for place in range(len(whole)):
        for bit in range(8):
            (path / FILES).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            assert fault_of(path) is not None, (place, bit)


@pytest.mark.parametrize("found", [[], 3, None, {"optimizer.pt": 3}, {"optimizer.pt": {"bytes": 320}}, {"optimizer.pt": [320, "a"]}])
def test_a_list_of_another_kind_is_no_list(tmp_path: Path, found: object) -> None:
    path = sealed(tmp_path)
    (path / FILES).write_text(json.dumps(found))
    assert fault_of(path) is not None
