"""What tests look at from outside: the content of a folder, a process that must not hang."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent


def content(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: the bytes of files, None for folders."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@contextmanager
def bounded(process: subprocess.Popen[str], *, seconds: float) -> Iterator[None]:
    """Kills the process when the block takes longer: who reads its output then comes to the end of it."""
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    try:
        yield
    finally:
        limit.cancel()
