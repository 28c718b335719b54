"""One run of a sweep: its dataset, its training, its measurement, and what that makes for a row."""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.files import staged_folder, write_json
from finetune.lock import hold, in_turn
from finetune.model import Load
from finetune.run import Run, open_run
from finetune.sweep.points import Point
from finetune.sweep.report import SweepRow

if TYPE_CHECKING:
    from finetune.train.log import Heard, LogLine

_PEAK = Path("/proc/self/clear_refs")  # "5" puts the process's peak of memory back to what it holds now (proc(5))


class Pruned(Exception):
    """A run that its held-out losses do not let go on."""

    def __init__(self, line: LogLine) -> None:
        super().__init__(f"ended at step {line.step}")
        self.line = line


def walk(point: Point, *, load: Load, heard: Heard, same: Callable[[Run], None]) -> SweepRow:
    """Makes what the run still lacks, and gives its row; `same` is asked about its dataset. What `heard` or `same` raise, it raises."""
    from finetune import evaluate, train

    run = open_run(point.recipe)
    make_data(run)
    same(run)
    data = str(run.mark("build")["result"])[:12]
    forgotten = _forget_peak()
    try:
        trained = train.train(run.recipe, load=load, heard=heard)
    except Pruned as pruned:
        line = pruned.line
        return SweepRow(
            point.name,
            point.overrides,
            data=data,
            pruned_at=line.step,
            valid_loss=line.valid_loss,
            tokens=line.tokens,
            seconds=line.seconds,
        )
    measured = evaluate.evaluate(run.recipe, load=load)
    return SweepRow(
        name=point.name,
        overrides=point.overrides,
        data=data,
        trainable=trained.trainable,
        total=trained.total,
        valid_loss=trained.valid_loss,
        tokens=trained.tokens,
        seconds=trained.seconds,
        peak_memory_bytes=_peak(run) if forgotten else None,
        metrics=dict(measured.metrics),
    )


def make_data(run: Run) -> None:
    """The run's dataset: its own, that of a run beside it with the same recipe sections, or a new one, built by one process."""
    from finetune.data import build

    folder = run.folder.parent
    with in_turn(folder, doing="data"):
        if run.done("build"):
            return
        for other in _built(folder, run.digest("build")):
            _adopt(run, other)
            return
        build.build(run.recipe)


def _built(folder: Path, digest: str) -> Iterator[Path]:
    """The runs below `folder` whose dataset is of this digest."""
    for path in sorted(folder.glob("*/manifest.json")):
        mark = json.loads(path.read_text(encoding="utf-8"))["steps"].get("build", {})
        if mark.get("digest") == digest and (path.parent / "data").exists():
            yield path.parent


def _adopt(run: Run, other: Path) -> None:
    """The other run's dataset as this run's own, without its bytes where the disk has hard links. Built files are never written again."""
    with hold(run.folder, doing="build"):
        with staged_folder(run.data) as folder:
            shutil.copytree(other / "data", folder, copy_function=_link, dirs_exist_ok=True)
        state = run.state()
        state["steps"]["build"] = json.loads((other / "manifest.json").read_text(encoding="utf-8"))["steps"]["build"]
        write_json(run.manifest, state)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV):
            raise
        shutil.copy2(source, target)  # a file system without hard links


def _forget_peak() -> bool:
    """From here on the peak of memory is the next run's own. False where the system can not forget."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return True
    with suppress(AttributeError):  # a C library without it keeps less
        ctypes.CDLL(None).malloc_trim(0)  # freed by the run before, 400 MB on the demo base, and still counted as this process's
    try:
        _PEAK.write_text("5")
    except OSError:
        return False
    return True


def _peak(run: Run) -> int:
    """The most memory of the run's training, of the GPU where there is one, in bytes."""
    from finetune.train.log import LOG, read_lines

    lines = read_lines(run.adapter / LOG, last_step=1 << 62)
    return max(line.memory_bytes for line in lines)
