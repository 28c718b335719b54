"""Builds that end at a chosen moment as `kill -9` would end them, in processes of their own forked off one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import PurePath
from typing import Any

from finetune.recipe import Recipe

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["killed", "finetune.data.build"])


def kill(recipe: Recipe, event: str, pattern: str, count: int = 1) -> None:
    """A build that is killed just before the count-th of Python's audit events of that name and path."""
    child = _FORKS.Process(target=_build, args=(recipe, event, pattern, count))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def _build(recipe: Recipe, event: str, pattern: str, count: int) -> None:
    from finetune.data.build import build

    left = count

    def look(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if name == event and PurePath(os.fspath(arguments[event == "os.rename"])).match(pattern):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    build(recipe)
