"""One writer of a folder at a time.

The lock is the operating system's, on a file in the folder: it ends with the process that holds it, however that ends.
The text in the file only says who it is. Of those who share a folder each says so in a file of its own, locked as long as it lives:
so nobody is told of one that has ended, on whatever machine.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from finetune.errors import FinetuneError
from finetune.files import READABLE

LOCK = ".lock"
_SHARER = f"{LOCK}.shared-"
_TRIES, _PAUSE = 5, 0.02  # seconds: `holder` has the lock for some microseconds while it looks


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that writes a folder; `since` in UTC."""

    pid: int
    host: str
    doing: str
    since: str


@contextmanager
def hold(folder: Path, *, doing: str) -> Iterator[None]:
    """The folder is this process's alone until the block ends. Raises FinetuneError when another writes it.

    Not for one who holds it already: the same process is refused like any other.
    """
    with _locking(folder, fcntl.LOCK_EX) as descriptor:
        _sign(descriptor, doing)
        try:
            for left in folder.glob(f"{_SHARER}*"):  # by those that were killed: nobody shares the folder now
                left.unlink(missing_ok=True)
            yield
        finally:
            # Removed while it is still held: whoever waits for this very file finds that it is gone, and takes a new one.
            (folder / LOCK).unlink(missing_ok=True)


@contextmanager
def share(folder: Path, *, doing: str) -> Iterator[None]:
    """Until the block ends nobody can `hold` the folder; others can share it. Raises FinetuneError when somebody holds it.

    Raises FileNotFoundError when there is no such folder, or none any more.
    """
    with _locking(folder, fcntl.LOCK_SH) as descriptor, tempfile.NamedTemporaryFile(prefix=_SHARER, dir=folder) as mine:
        os.ftruncate(descriptor, 0)  # the name of one that held it and was killed
        os.fchmod(mine.fileno(), READABLE)
        fcntl.flock(mine, fcntl.LOCK_EX)
        _sign(mine.fileno(), doing)
        yield


@contextmanager
def _locking(folder: Path, how: int) -> Iterator[int]:
    """The lock of a folder: its descriptor, until the block ends."""
    path = folder / LOCK
    descriptor = _take(path, how)
    if descriptor is None:
        raise FinetuneError(refusal(folder, _read(path) or _sharer(folder)))
    try:
        yield descriptor
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # for a forked child too, which shares it
        os.close(descriptor)


@contextmanager
def in_turn(folder: Path, *, doing: str) -> Iterator[None]:
    """Within the block no other process does the same in the folder: whoever comes waits until it has ended, or has died."""
    with (folder / f"{LOCK}-{doing}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def holder(folder: Path) -> Holder | None:
    """Who writes the folder now; None when nobody does, or when it has not said its name yet."""
    path = folder / LOCK
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return None if _locked(descriptor, fcntl.LOCK_SH) else _read(path)
        finally:
            os.close(descriptor)
    return None


def refusal(folder: Path, found: Holder | None) -> str:
    """Who has the folder, since when, and what to do."""
    cure = "or write name=ANOTHER for a run beside it"
    if found is None:
        return f"{folder}: in use by another process; wait until it has ended, {cure}"
    return (
        f"{folder}: in use by process {found.pid} on {found.host} ({found.doing}) since {found.since}; "
        f"wait until it has ended, stop it (kill {found.pid}), {cure}"
    )


def _sign(descriptor: int, doing: str) -> None:
    mine = Holder(os.getpid(), platform.node(), doing, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(mine)).encode(), 0)


def _take(path: Path, how: int) -> int | None:
    """The locked file, or None when another has it."""
    for _ in range(_TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if _locked(descriptor, how) and _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)
        time.sleep(_PAUSE)
    return None


def _sharer(folder: Path) -> Holder | None:
    """One of those who share a folder now; None when none has said its name."""
    for path in sorted(folder.glob(f"{_SHARER}*")):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if not _locked(file.fileno(), fcntl.LOCK_SH):
                return _read(path)
    return None


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
            raise
        raise FinetuneError("the file system of this run knows no locks; write runs=FOLDER on a local disk") from error
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file still is the one of that name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _read(path: Path) -> Holder | None:
    """What the file says; None while it is being written or when it is gone."""
    with suppress(FileNotFoundError, ValueError, TypeError):
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    return None
