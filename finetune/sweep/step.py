"""The step itself: the only place where one step calls others."""

from __future__ import annotations

import errno
import os
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from finetune.errors import FinetuneError, Stopped
from finetune.files import write_atomic, write_json, write_together
from finetune.lock import LOCK, hold, holder, in_turn
from finetune.quiet import quiet_libraries
from finetune.recipe import Recipe
from finetune.run import run_of
from finetune.sweep.board import Board, Task, Worker
from finetune.sweep.kept import KeptBase
from finetune.sweep.one import Pruned, walk
from finetune.sweep.page import page
from finetune.sweep.plot import figure
from finetune.sweep.points import Point, begun, fitted, point, points, require_same_base
from finetune.sweep.report import LOSS, PREFERRED, SweepResult, SweepRow, row_of, to_json
from finetune.sweep.search import corners, draw, minimised, sampler, search_of
from finetune.sweep.study import open_board

if TYPE_CHECKING:
    from finetune.train.log import LogLine

_FAULT, _WORKERS = "error.txt", "workers"
_TRIES = 100  # draws of what was drawn before, after which a search is taken for exhausted


class _Sweep(NamedTuple):
    """What does not change while a process works on a sweep; `points` by name, None for a search."""

    recipe: Recipe
    folder: Path
    points: dict[str, Point] | None


def sweep(recipe: Recipe) -> SweepResult:
    """A run for each point of the recipe's product, list or search; runs that are done are kept.

    Raises RecipeError or TrainError before the first for all unsound ones and all that do not fit. All runs with the same data sections
    stand on one dataset, built by the first of them: commits that came later are not read, also when a sweep goes on after a kill. A
    run that fails is a row with its error, and is tried again when the sweep is started again; a signal to stop ends the sweep.
    Processes that share the study share the runs; each ends when no run is left to take.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise FinetuneError("sweep: found a launcher with several processes; start `finetune sweep` several times, they share the runs")
    quiet_libraries()
    found = _checked(recipe)
    folder = Path(recipe.runs) / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    work = _Sweep(recipe, folder, found)
    with _working(folder) as worker, ExitStack() as stack:
        with in_turn(folder, doing="study"):
            board = stack.enter_context(closing(open_board(recipe, folder, worker)))
            board.take_back()
            _tidy(folder)
            if found is None:
                board.retry_failed()
            else:
                board.offer({name: each.overrides for name, each in found.items()})
        _work(work, board)
        return _write(work, board)


def _checked(recipe: Recipe) -> dict[str, Point] | None:
    """The runs by name, every one sound and fitting; of a search, whose runs are not known yet, its ends are."""
    if recipe.sweep.search is None:
        found = points(recipe)
        require_same_base(run_of(each.recipe) for each in found)
        return {each.name: each for each in fitted(recipe, found)}
    require_same_base(begun(recipe))
    fitted(recipe, corners(recipe, search_of(recipe)))
    return None


def _work(work: _Sweep, board: Board) -> None:
    base = KeptBase()
    while (task := _next(work, board)) is not None:
        try:
            with board.beating(task):
                row = _row(work, board, task, base)
        except BaseException:  # whatever ends this process, what it was at goes to the next one
            board.give_back(task)
            raise
        value = _value(work.recipe, row)
        board.finish(task, asdict(row), value=value, pruned=row.pruned_at is not None)
        with in_turn(work.folder, doing="study"):
            board.take_back()
        _write(work, board)


def _next(work: _Sweep, board: Board) -> Task | None:
    with in_turn(work.folder, doing="study"):
        task = board.claim(work.points)
        return _drawn(work, board) if task is None and work.points is None else task


def _drawn(work: _Sweep, board: Board) -> Task | None:
    """A new trial of the search; None when there are as many as were asked for, or nothing new comes."""
    from optuna.exceptions import ExperimentalWarning

    search = search_of(work.recipe)
    for _ in range(_TRIES):
        if len(board.trials()) >= search.trials:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.filterwarnings("ignore", message="Heartbeat of storage")  # ours beats: Board.beating
            trial = board.study.ask()
        if sum(each.number < trial.number for each in board.trials()) >= search.trials:
            board.drop(trial)  # another machine was quicker
            return None
        board.study.sampler = sampler(search, seed=work.recipe.seed, number=trial.number)
        setting = draw(trial, search)
        task = Task(trial, point(work.recipe, setting).name, setting)
        if board.begin(task, drawn=True):
            return task
    return None


def _row(work: _Sweep, board: Board, task: Task, base: KeptBase) -> SweepRow:
    fault = work.folder / task.name / _FAULT
    try:
        found = point(work.recipe, task.overrides) if work.points is None else work.points[task.name]
        if found.misfit is not None:
            return SweepRow(found.name, found.overrides, error=found.misfit)
        row = walk(found, load=base, heard=_listener(work.recipe, task, found), same=board.require_same)
    except Stopped:  # the whole sweep was meant
        raise
    except Exception as error:  # a night of runs must not end with one of them; its whole traceback is kept beside it
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        write_atomic(fault, traceback.format_exc())
        first = (str(error).splitlines() or [""])[0]
        return SweepRow(task.name, task.overrides, error=f"{type(error).__name__}: {first} (all of it in {fault})")
    fault.unlink(missing_ok=True)
    return row


def _listener(recipe: Recipe, task: Task, found: Point) -> Callable[[LogLine], None]:
    """Tells the study each held-out loss of a search's run, and ends the run when the pruner says so."""
    search, last = recipe.sweep.search, found.recipe.train.max_steps
    if search is None:
        return lambda _: None
    sign = 1 if minimised(recipe, search) else -1  # a pruner knows the study's direction alone; a loss is always better low
    told: set[int] = set()

    def hear(line: LogLine) -> None:
        if line.valid_loss is None or line.step == 0 or line.step in told:
            return
        told.add(line.step)
        task.trial.report(sign * line.valid_loss, line.step)
        if line.step != last and task.trial.should_prune():
            raise Pruned(line)

    return hear


def _value(recipe: Recipe, row: SweepRow) -> float | None:
    search = recipe.sweep.search
    if search is None or row.error is not None:
        return None
    if search.metric == LOSS:
        return row.valid_loss
    score = None if row.metrics is None else row.metrics.get(search.metric)
    return None if score is None else score.tuned.value


@contextmanager
def _working(folder: Path) -> Iterator[Worker]:
    """This process as others see it: a folder whose lock ends with it."""
    place = folder / _WORKERS / f"{os.getpid()}-{time.time_ns()}"
    with in_turn(folder, doing="study"):
        place.mkdir(parents=True)
        held = hold(place, doing="sweep")
        held.__enter__()
    try:
        yield Worker.at(place)
    finally:
        held.__exit__(None, None, None)
        shutil.rmtree(place, ignore_errors=True)


def _tidy(folder: Path) -> None:
    """Take away what killed processes left; whoever begins does so in turn."""
    for place in (folder / _WORKERS).iterdir():
        if holder(place) is None and (place / LOCK).exists():
            shutil.rmtree(place, ignore_errors=True)


def _result(work: _Sweep, board: Board) -> SweepResult:
    entries = {entry.name: entry for entry in board.entries()}
    names: Sequence[str] = [*(work.points if work.points is not None else entries)]
    rows = [row_of(row) for name in names if name in entries and (row := entries[name].row) is not None]
    ended = {row.name for row in rows}
    measured = [metric.kind for metric in work.recipe.evaluate.metrics]
    search = work.recipe.sweep.search
    wanted = search.metric if search is not None and search.metric != LOSS else PREFERRED
    metric = wanted if wanted in measured else measured[0]
    by_loss = search is not None and search.metric == LOSS
    return SweepResult(work.folder, metric, rows, by_loss=by_loss, waiting=tuple(name for name in names if name not in ended))


def _write(work: _Sweep, board: Board) -> SweepResult:
    """sweep.json last: where it lies, the plot and the page lie too."""
    with in_turn(work.folder, doing="report"):
        result = _result(work, board)
        drawn = any(result.score(row) is not None and row.share is not None for row in result.rows)
        picture = figure(result) if drawn else None
        beside = {work.folder / "sweep.html": page(result, picture)}
        write_together(beside if picture is None else {work.folder / "sweep.png": picture, **beside})
        write_json(work.folder / "sweep.json", to_json(result))
    return result
