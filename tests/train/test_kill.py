"""kill -9 at any moment: the training goes on, and comes to what an undisturbed one comes to, to the bit."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from killing import Trip, finish, kill_after, start
from training_runs import Kept, Prepare, newest_step, outcome, preparing

from finetune.run import open_run

SETTINGS = ("adapter.dropout=0.2", "train.max_steps=6", "train.early_stopping=9")
LONG = (*SETTINGS, "train.max_steps=40", "train.save_every=3", "train.eval_every=7")


def undisturbed(make: Prepare, *settings: str, name: str) -> tuple[dict[str, object], float]:
    """What the training comes to when nobody kills it, and its seconds."""
    run = open_run(make(*settings, name=name))
    seconds = finish(run.folder)
    return outcome(run.adapter), seconds


@pytest.fixture(scope="module")
def make(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    return preparing(tiny_base, tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def expected(make: Prepare) -> dict[str, object]:
    return undisturbed(make, *SETTINGS, name="short")[0]


ALWAYS = (
    "after a step, before its line",
    "while a checkpoint is written",
    "while an older checkpoint is removed",
    "while the adapter is written",
    "before the run says that it is done",
)
MOMENTS = {
    "before anything is written": Trip("os.mkdir", "checkpoints/.partial"),
    "while the base is measured": Trip("open", "checkpoints/metrics.jsonl"),
    "after a step, before its line": Trip("open", "checkpoints/metrics.jsonl", 5),
    "while a checkpoint is written": Trip("open", ".partial/checkpoint-4/trainer_state.json"),
    "while a checkpoint is listed": Trip("os.rename", ".partial/checkpoint-4/.partial-files.json.*"),
    "before a checkpoint has its name": Trip("os.rename", ".partial/checkpoint-4"),
    "while an older checkpoint is removed": Trip("os.rmdir", "checkpoint-2"),
    "before the last checkpoint has its name": Trip("os.rename", ".partial/checkpoint-6"),
    "while the adapter is written": Trip("os.rename", ".partial-adapter/.partial-adapter_config.json.*"),
    "before the adapter has its name": Trip("os.rename", ".partial-adapter"),
    "before the run says that it is done": Trip("os.rename", ".partial-manifest.json.*"),
    "while the checkpoints are removed": Trip("os.rmdir", "checkpoints/.partial"),
}

# The newest whole checkpoint at that moment, where there is one. Those of even steps are due, and that of step 3 as the best so far.
KEPT = {
    "after a step, before its line": 2,
    "while a checkpoint is written": 3,
    "while a checkpoint is listed": 3,
    "before a checkpoint has its name": 3,
    "while an older checkpoint is removed": 4,
    "before the last checkpoint has its name": 4,
    "while the adapter is written": 6,
    "before the adapter has its name": 6,
    "before the run says that it is done": 6,
}


@pytest.mark.parametrize("moment", [moment if moment in ALWAYS else pytest.param(moment, marks=pytest.mark.slow) for moment in MOMENTS])
def test_a_killed_training_comes_to_the_same(make: Prepare, expected: dict[str, object], moment: str) -> None:
    run = open_run(make(*SETTINGS, name=moment.replace(" ", "-").replace(",", "")))
    killed = start(run.folder, MOMENTS[moment])
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    before = Kept(run)
    assert before.step == KEPT.get(moment, -1)
    finish(run.folder)
    before.require_if_any()
    assert outcome(run.adapter) == expected
    assert not run.checkpoints.exists() and not (run.folder / ".partial-adapter").exists()


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(make: Prepare) -> None:
    expected, seconds = undisturbed(make, *LONG, name="long")
    draw, kills, tries, kept = random.Random(0), 0, 0, 0
    while kills < 20:
        tries += 1
        assert tries <= 60, "most trainings had ended before they could be killed"
        run = open_run(make(*LONG, name=f"run-{tries}"))
        kills += kill_after(run.folder, draw.uniform(0, seconds))
        before = Kept(run)
        finish(run.folder)
        before.require_if_any()
        kept += before.step > 0
        assert outcome(run.adapter) == expected, tries
    assert kept >= 5, "most were killed before there was a checkpoint to go on from"


@pytest.mark.slow
def test_a_training_killed_at_every_start_gets_through(make: Prepare) -> None:
    expected, seconds = undisturbed(make, *LONG, name="as-long")
    run, draw = open_run(make(*LONG, name="again-and-again")), random.Random(1)
    starts = 1
    before = Kept(run)
    while kill_after(run.folder, draw.uniform(0.5, 1) * seconds):
        assert newest_step(run) >= before.step, "a checkpoint was lost"
        before = Kept(run)
        starts += 1
        assert starts <= 60
    before.require()
    assert starts > 1 and outcome(run.adapter) == expected
