"""Builds that end at a chosen moment as `kill -9` would end them, in processes of their own forked off one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from finetune.recipe import Recipe

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["killed", "finetune.data.build"])

# For every interpreter that starts with its folder in PYTHONPATH: the first to rename something to a path of that pattern is killed.
_WATCHED = """
import os, signal, sys
from pathlib import PurePath

def look(name, arguments):
    if name == "os.rename" and PurePath(os.fspath(arguments[1])).match({pattern!r}):
        try:
            os.close(os.open({once!r}, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(look)
"""


def kill(recipe: Recipe, event: str, pattern: str, count: int = 1) -> None:
    """A build that is killed just before the count-th of Python's audit events of that name and path."""
    child = _FORKS.Process(target=_build, args=(recipe, event, pattern, count))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def kill_a_worker(folder: Path, pattern: str) -> Path:
    """Writes into `folder`, which is to be in PYTHONPATH, what kills one new interpreter at a rename; the path is there when it has."""
    once = folder / "killed"
    (folder / "sitecustomize.py").write_text(_WATCHED.format(pattern=pattern, once=str(once)))
    return once


class Stopped(NamedTuple):
    """A process that waits just before an audit event, until it is let go."""

    process: BaseProcess
    line: Connection

    def let_go(self) -> int | None:
        """Its exit status."""
        self.line.send(None)
        self.process.join()
        return self.process.exitcode


def stopped(work: Callable[..., object], arguments: tuple[Any, ...], *moments: tuple[str, str]) -> Stopped:
    """A process that calls `work`, and has come to the first of Python's audit events of those names and paths."""
    ours, theirs = _FORKS.Pipe()
    process = _FORKS.Process(target=_stop, args=(theirs, work, arguments, moments))
    process.start()
    theirs.close()
    assert ours.poll(60), "it never came there"
    ours.recv()
    return Stopped(process, ours)


def _stop(line: Connection, work: Callable[..., object], arguments: tuple[Any, ...], moments: tuple[tuple[str, str], ...]) -> None:
    waiting = True

    def look(name: str, found: tuple[Any, ...]) -> None:
        nonlocal waiting
        if waiting and any(_is_at(name, found, *moment) for moment in moments):
            waiting = False
            line.send(None)
            line.recv()

    sys.addaudithook(look)
    work(*arguments)


def _build(recipe: Recipe, event: str, pattern: str, count: int) -> None:
    from finetune.data.build import build

    left = count

    def look(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if _is_at(name, arguments, event, pattern):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    build(recipe)


def _is_at(name: str, arguments: tuple[Any, ...], event: str, pattern: str) -> bool:
    path = arguments[event == "os.rename"] if name == event else None
    return isinstance(path, str | os.PathLike) and PurePath(os.fspath(path)).match(pattern)
