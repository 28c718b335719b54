"""Git started and a folder of our own for it, by system calls alone.

What subprocess, tempfile and shutil import is a twentieth of all CPU-seconds that a short history takes.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedReader, FileIO, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 16  # bytes read at once: they stay in a processor's cache until they are taken apart
PIPE = 1 << 20  # bytes a program may write ahead of us
NAP_S = 0.0005  # git writes a few hundred kB in it, and is not kept waiting
KILL = 9  # by its number: the module signal is imported for nothing else
_PREFIX = "finetune-git-"
_PLACES = ("TMPDIR", "TEMP", "TMP")  # in the order of the module tempfile


class Process:
    """A program at work; what it writes is read from `output`, and what it complains of goes to an open file."""

    def __init__(self, command: list[str], surroundings: Mapping[str, str], *, stdin: int, complaints: int) -> None:
        reading, writing = os.pipe()
        self.output = BufferedReader(_Unhurried(reading), CHUNK)
        _widen(reading)
        self._status: int | None = None
        try:
            self._pid = _spawn(command, surroundings, (stdin, writing, complaints))
        except OSError:
            self.output.close()
            raise
        finally:
            os.close(writing)

    def kill(self) -> None:
        """Ends it, if it has not been waited for."""
        if self._status is None:
            with suppress(ProcessLookupError):  # gone already, where nobody is to be told
                os.kill(self._pid, KILL)

    def wait(self) -> int:
        """Its exit status, once it has ended; below 0 for the signal that ended it, 0 where SIGCHLD is ignored and nobody knows."""
        if self._status is None:
            try:
                self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
            except ChildProcessError:
                self._status = 0
        return self._status


def run(command: list[str], surroundings: Mapping[str, str]) -> tuple[int, bytes, bytes]:
    """Exit status, output and complaint of a program that is given nothing."""
    with _unnamed() as complaint, Path(os.devnull).open("rb") as nothing:
        process = Process(command, surroundings, stdin=nothing.fileno(), complaints=complaint.fileno())
        with process.output as output:
            found = output.read()
        status = process.wait()
        complaint.seek(0)
        return status, found, complaint.read()


def own_folder() -> Path:
    """A new folder that is nobody else's, for what is gone when the work ends, at its absolute path."""
    place = next(filter(None, map(os.environ.get, _PLACES)), "/tmp")
    folder = Path(place, f"{_PREFIX}{os.urandom(8).hex()}").absolute()
    try:
        folder.mkdir(0o700)
    except OSError:
        from tempfile import mkdtemp  # knows more places

        return Path(mkdtemp(prefix=_PREFIX))
    return folder


def remove(folder: Path) -> None:
    """The folder with all that is in it, as far as it can be removed."""
    for place, _, names in os.walk(folder, topdown=False):
        with suppress(OSError):
            for name in names:
                Path(place, name).unlink()
            Path(place).rmdir()


def _unnamed() -> FileIO:
    """A new file that is gone when it is closed: a pipe that is read after another one would stop a program that fills it."""
    folder = own_folder()
    try:
        return FileIO(folder / "complaints", "x+")
    finally:
        remove(folder)


def _spawn(command: list[str], surroundings: Mapping[str, str], files: tuple[int, int, int]) -> int:
    """The number of a new process with these files as its first three."""
    # A lower number, had by who was started with such a file closed, would be overwritten before it is in its place.
    higher = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 3) if each < 3 else each for each in files]
    try:
        actions = [(os.POSIX_SPAWN_DUP2, each, number) for number, each in enumerate(higher)]
        return os.posix_spawnp(command[0], command, surroundings, file_actions=actions)
    finally:
        for each in {*higher} - {*files}:
            os.close(each)


class _Unhurried(RawIOBase):
    """A pipe from git that is read in large pieces.

    git writes 16 kB at a time and each write would wake us: ten times as many reads, a tenth of all CPU-seconds of a long history.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        size = os.readv(self._descriptor, [buffer])
        if 0 < size < memoryview(buffer).nbytes:
            time.sleep(NAP_S)
        return size

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def _widen(pipe: int) -> None:
    """Makes room in the pipe where the system lets us."""
    if sys.platform == "linux":
        with suppress(OSError):  # a user's pipes may not hold more together than a limit says; a narrow one works too
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
