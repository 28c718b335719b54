"""The study: which runs are to do, who is at which, and what was found, in a database that processes and machines may share.

    waiting -> running -> a row: done, pruned or failed
       ^          |
       +----------+  the process was killed or told to stop: its heartbeat ends, or its lock is free

A trial that ended without a row was given back, or was drawn twice: it counts for nothing.
"""

from __future__ import annotations

import json
import platform
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from finetune.errors import RecipeError
from finetune.lock import holder
from finetune.run import Run
from finetune.sweep.database import GRACE, INTERVAL

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

_OVERRIDES, _NAME, _ROW, _MEASURE, _WORKER = "overrides", "name", "row", "measure", "worker"


class Worker(NamedTuple):
    """The process that works on trials; `folder` is locked as long as it lives."""

    host: str
    folder: str

    @classmethod
    def at(cls, folder: Path) -> Worker:
        return cls(platform.node(), str(folder.resolve()))

    @property
    def died(self) -> bool:
        """Whether it is seen from here that it lives no more; of another machine only its heartbeat tells."""
        folder = Path(self.folder)
        return self.host == platform.node() and folder.is_dir() and holder(folder) is None


class Task(NamedTuple):
    """A run that this process has taken."""

    trial: Trial
    name: str
    overrides: Mapping[str, Any]


class Entry(NamedTuple):
    """A run as the study knows it; `row` is None until it has ended."""

    number: int
    name: str
    overrides: Mapping[str, Any]
    row: Mapping[str, Any] | None


class Board:
    """The trials of one study, for one worker."""

    def __init__(self, storage: RDBStorage, study: Study, worker: Worker, *, measure: str, local: bool) -> None:
        """`measure` says how runs are measured: rows measured otherwise are as if they were not there. `local`: the database is the
        folder's own, where whoever takes a trial has said so before another looks."""
        self.storage = storage
        self.study = study
        self.worker = worker
        self.measure = measure
        self.local = local
        self._id = storage.get_study_id_from_name(study.study_name)

    def close(self) -> None:
        """Give back the connections to the database."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def trials(self) -> list[FrozenTrial]:
        """Those that count, in the order in which they came: to do, running, or ended with a row."""
        return [trial for trial in self.storage.get_all_trials(self._id, deepcopy=False) if _counts(trial)]

    def entries(self) -> list[Entry]:
        """The newest word on each run, in the order in which they came."""
        found: dict[str, Entry] = {}
        for trial in self.trials():
            if _NAME in trial.user_attrs:
                entry = self._entry(trial)
                first = found.get(entry.name, entry)
                found[entry.name] = entry._replace(number=first.number, row=entry.row or first.row)
        return sorted(found.values())

    def recipe(self, mine: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the study says of its recipe; a new one is `mine` from here on."""
        found: Mapping[str, Any] | None = self.study.user_attrs.get("recipe")
        if found is not None:
            return found
        self.study.set_user_attr("recipe", dict(mine))
        return mine

    def offer(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Put up what is not there yet, by name, and once more what failed."""
        there = {entry.name: entry for entry in self.entries()}
        going = {trial.user_attrs.get(_NAME) for trial in self.trials() if not trial.state.is_finished()}
        for name, overrides in settings.items():
            row = there[name].row if name in there else None
            if name not in going and (row is None or row.get("error")):
                self.study.enqueue_trial({}, user_attrs={_NAME: name, _OVERRIDES: json.dumps(overrides)})

    def retry_failed(self) -> None:
        """Put up once more the drawn runs that failed, with what was drawn."""
        going = {trial.user_attrs.get(_NAME) for trial in self.trials() if not trial.state.is_finished()}
        newest = {trial.user_attrs.get(_NAME): trial for trial in self.trials()}
        for name, trial in newest.items():
            if name not in going and json.loads(trial.user_attrs.get(_ROW, "{}")).get("error"):
                self._again(trial)

    def take_back(self) -> None:
        """Put up again what a process that died was at."""
        from optuna.exceptions import ExperimentalWarning
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        for trial in self.storage.get_all_trials(self._id, deepcopy=False, states=(TrialState.RUNNING,)):
            if self._is_lost(trial):
                self._give_back(trial)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)

    def claim(self, names: Collection[str] | None) -> Task | None:
        """A run that waits, taken by this process alone; None when none of these names does, or none at all."""
        from optuna import Trial
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        for waiting in self.storage.get_all_trials(self._id, deepcopy=False, states=(TrialState.WAITING,)):
            if names is not None and waiting.user_attrs[_NAME] not in names:
                continue  # of another list of runs
            with suppress(UpdateFinishedTrialError):
                if self.storage.set_trial_state_values(waiting._trial_id, state=TrialState.RUNNING):
                    attributes = waiting.user_attrs
                    task = Task(Trial(self.study, waiting._trial_id), attributes[_NAME], json.loads(attributes[_OVERRIDES]))
                    if self.begin(task):
                        return task
        return None

    def begin(self, task: Task, *, drawn: bool = False) -> bool:
        """Say who is at it. False, and the trial counts for nothing, when another is at the same run, or what was drawn is there."""
        from optuna.trial import TrialState

        self.storage.record_heartbeat(task.trial._trial_id)
        for key, value in ((_WORKER, list(self.worker)), (_NAME, task.name), (_OVERRIDES, json.dumps(task.overrides))):
            task.trial.set_user_attr(key, value)
        before = (trial for trial in self.trials() if trial.number < task.trial.number and trial.user_attrs.get(_NAME) == task.name)
        if any(trial.state != TrialState.FAIL if drawn else not trial.state.is_finished() for trial in before):
            self.drop(task.trial)
            return False
        return True

    def drop(self, trial: Trial) -> None:
        """It counts for nothing."""
        from optuna.trial import TrialState

        self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)

    def give_back(self, task: Task) -> None:
        """Put up again what this process does not end."""
        self._give_back(self.storage.get_trial(task.trial._trial_id))

    def finish(self, task: Task, row: Mapping[str, Any], *, value: float | None, pruned: bool) -> None:
        """Keep what was found; of a run that was given to another meanwhile, that one's row is kept."""
        from optuna.trial import TrialState

        trial = self.storage.get_trial(task.trial._trial_id)
        if trial.state.is_finished():
            return
        task.trial.set_user_attr(_ROW, json.dumps(row))
        task.trial.set_user_attr(_MEASURE, self.measure)
        if pruned:
            self.study.tell(task.trial, state=TrialState.PRUNED, skip_if_finished=True)
        elif row.get("error"):
            self.study.tell(task.trial, state=TrialState.FAIL, skip_if_finished=True)
        else:
            self.study.tell(task.trial, value if value is not None else 0.0, skip_if_finished=True)

    @contextmanager
    def beating(self, task: Task) -> Iterator[None]:
        """Within the block the database hears that the run goes on."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(INTERVAL):
                self.storage.record_heartbeat(task.trial._trial_id)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def require_same(self, run: Run) -> None:
        """The first dataset of some data sections is that of all runs with them. Raises RecipeError for another one."""
        key, mine = f"data {run.digest('build')}", run.mark("build")["result"]
        found = self.study.user_attrs.get(key)
        if found is None:
            self.study.set_user_attr(key, mine)
        elif found != mine:
            raise RecipeError(
                f"{run.data}: made from other commits than the runs this study has; their rows could not be compared. "
                "Bring the repositories to the same commits (data.ref or data.at names one) and remove this folder, or write name=NEW"
            )

    def _give_back(self, trial: FrozenTrial) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        with suppress(UpdateFinishedTrialError):  # another process was quicker
            if self.storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL):
                self._again(trial)

    def _is_lost(self, trial: FrozenTrial) -> bool:
        if _WORKER in trial.user_attrs:
            return Worker(*trial.user_attrs[_WORKER]).died
        # It was taken, and nobody has said by whom: a kill in between, or on another machine the moment before.
        assert trial.datetime_start is not None
        return self.local or datetime.now() - trial.datetime_start > timedelta(seconds=GRACE)

    def _again(self, trial: FrozenTrial) -> None:
        again(self.study, trial)

    def _entry(self, trial: FrozenTrial) -> Entry:
        attributes = trial.user_attrs
        whole = trial.state.is_finished() and attributes.get(_MEASURE) == self.measure
        return Entry(trial.number, attributes[_NAME], json.loads(attributes[_OVERRIDES]), json.loads(attributes[_ROW]) if whole else None)


def again(study: Study, trial: FrozenTrial) -> None:
    """Put up what `trial` was at, with the same parameters."""
    if _NAME not in trial.user_attrs:
        return  # killed before it was drawn to the end: another one is drawn
    kept: dict[str, Any] = {key: trial.user_attrs[key] for key in (_NAME, _OVERRIDES)}
    study.enqueue_trial(trial.system_attrs.get("fixed_params") or trial.params, user_attrs=kept)


def _counts(trial: FrozenTrial) -> bool:
    return trial.state.name != "FAIL" or _ROW in trial.user_attrs
