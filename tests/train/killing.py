"""Trainings in processes of their own that can be killed at a chosen moment.

They are forked off one process that has imported everything, so that a start takes no seconds. What a child does is what
`finetune train` does, from reading the recipe on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path, PurePath
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["killing", "finetune.train.steps", "finetune.plan", "matplotlib.backends.backend_agg", "peft.tuners.lora"])


@dataclass(frozen=True)
class Trip:
    """A moment: just before the `count`-th of Python's audit events of that name whose path ends so (* for any name)."""

    event: str
    path: str
    count: int = 1


def start(folder: Path, trip: Trip | None = None) -> BaseProcess:
    """A training of the run in `folder`, which kills itself at the trip as `kill -9` would."""
    child = _FORKS.Process(target=_train, args=(str(folder), trip))
    child.start()
    return child


def finish(folder: Path) -> float:
    """Trains to the end; gives the seconds it took."""
    began = time.monotonic()
    child = start(folder)
    child.join()
    assert child.exitcode == 0, child.exitcode
    return time.monotonic() - began


def kill_after(folder: Path, seconds: float) -> bool:
    """Whether a training was killed so many seconds after its start; False: it had ended before."""
    child = start(folder)
    child.join(seconds)
    child.kill()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
    return child.exitcode != 0


def _train(folder: str, trip: Trip | None) -> None:
    import torch

    from finetune.__main__ import main

    torch.set_num_threads(1)
    if trip is not None:
        sys.addaudithook(_tripwire(trip))
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        sys.exit(main(["train", folder]))


def _tripwire(trip: Trip) -> Any:
    left = trip.count

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event == trip.event and isinstance(arguments[0], str | os.PathLike) and PurePath(os.fspath(arguments[0])).match(trip.path):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return look
