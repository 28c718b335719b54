"""Writes that are whole or absent: a temporary name in the same folder, flushed, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STAGED = ".partial-"


def write_atomic(path: Path, content: str | bytes) -> None:
    """Put `content` at `path`; a kill leaves the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{STAGED}{path.name}.{os.getpid()}")
    try:
        with staged.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `path` when the block ends well and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    discard_staged(path)
    staged = path.with_name(f"{STAGED}{path.name}")
    staged.mkdir()
    try:
        yield staged
        old = path.with_name(f"{STAGED}old-{path.name}")
        if path.exists():
            path.rename(old)
        staged.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def discard_staged(path: Path) -> None:
    """Clear what a killed `staged_folder(path)` left; bring the old folder back if the new one never came."""
    old = path.with_name(f"{STAGED}old-{path.name}")
    if old.exists() and not path.exists():
        old.rename(path)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(path.with_name(f"{STAGED}{path.name}"), ignore_errors=True)
