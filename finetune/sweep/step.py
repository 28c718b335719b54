"""The step itself: the only place where one step calls others."""

from __future__ import annotations

import errno
import os
import shutil
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from finetune.errors import Stopped
from finetune.files import staged_folder, write_atomic, write_json
from finetune.progress import track
from finetune.recipe import Recipe
from finetune.run import Run, open_run
from finetune.sweep.grid import Point, points
from finetune.sweep.plot import figure
from finetune.sweep.report import PREFERRED, SweepResult, SweepRow, to_json

_FAULT = "error.txt"


def sweep(recipe: Recipe) -> SweepResult:
    """A run for each point of the recipe's grid; runs that are done are kept. Raises RecipeError before the first for all unsound ones.

    All runs with the same data sections stand on one dataset, built by the first of them: commits that came later are not
    read, also when a sweep goes on after a kill. A run that fails is a row with its error, and is tried again next time;
    a signal to stop ends the sweep.
    """
    found = points(recipe)
    runs = [open_run(point.recipe) for point in found]
    names = [metric.kind for metric in recipe.evaluate.metrics]
    metric = PREFERRED if PREFERRED in names else names[0]
    result = SweepResult(Path(recipe.runs) / recipe.name, metric, rows=())
    for point, run in track(zip(found, runs, strict=True), label="sweep", total=len(found)):
        result = replace(result, rows=[*result.rows, _row(point, run, others=runs)])
        _write(result)
    return result


def _row(point: Point, run: Run, *, others: Sequence[Run]) -> SweepRow:
    fault = run.folder / _FAULT
    try:
        row = _walk(point, run, others=others)
    except Stopped:  # the whole sweep was meant
        raise
    except Exception as error:  # a night of runs must not end with one of them; its whole traceback is kept beside it
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        write_atomic(fault, traceback.format_exc())
        first = (str(error).splitlines() or [""])[0]
        return SweepRow(run.recipe.name, point.overrides, error=f"{type(error).__name__}: {first} (all of it in {fault})")
    fault.unlink(missing_ok=True)
    return row


def _walk(point: Point, run: Run, *, others: Sequence[Run]) -> SweepRow:
    from finetune import evaluate, train

    _make_data(run, others)
    trained = train.train(run.recipe)
    measured = evaluate.evaluate(run.recipe)
    return SweepRow(
        name=run.recipe.name,
        overrides=point.overrides,
        trainable=trained.trainable,
        total=trained.total,
        valid_loss=trained.valid_loss,
        seconds=trained.seconds,
        metrics=dict(measured.metrics),
    )


def _make_data(run: Run, others: Iterable[Run]) -> None:
    """The run's dataset: its own, another run's of the same recipe sections, or a new one."""
    from finetune.data import build

    if run.done("build"):
        return
    for other in others:
        if other.done("build") and other.digest("build") == run.digest("build"):
            _adopt(run, other)
            return
    build.build(run.recipe)


def _adopt(run: Run, other: Run) -> None:
    """The other run's dataset as this run's own, without its bytes where the disk has hard links. Built files are never written again."""
    with staged_folder(run.data) as folder:
        shutil.copytree(other.data, folder, copy_function=_link, dirs_exist_ok=True)
    state = run.state()
    state["steps"]["build"] = other.mark("build")
    write_json(run.manifest, state)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        shutil.copy2(source, target)  # a file system without hard links


def _write(result: SweepResult) -> None:
    """sweep.json last: where it lies, the plot lies too."""
    if any(result.score(row) is not None for row in result.rows):
        write_atomic(result.folder / "sweep.png", figure(result))
    write_json(result.folder / "sweep.json", to_json(result))
