"""Held-out rows decide when a training stops and which step's adapter it gives."""

from __future__ import annotations

import math

import pytest
from test_resume import with_the_adapter_blocked
from training_runs import Prepare, encoder_of, held_out, logged, mean_of_valid, outcome, write_side

from finetune.data.pack import pack
from finetune.data.render import encode_sample
from finetune.data.store import write_rows
from finetune.errors import TrainError
from finetune.recipe import Recipe, TrainSection
from finetune.records import FimSample, Origin
from finetune.run import open_run
from finetune.train import train
from finetune.train.held_out import best_step, is_over
from finetune.train.log import LogLine

# One text learnt by heart at a high rate: the loss on others falls at the first step and rises at the next two.
BY_HEART = (
    "train.epochs=99",
    "train.eval_every=1",
    "train.save_every=50",
    "train.learning_rate=2e-2",
    "train.schedule=constant",
    "train.batch_size=4",
    "train.accumulation=1",
    "adapter.r=32",
)


def by_heart(prepare: Prepare, *overrides: str, name: str = "run") -> Recipe:
    recipe = prepare(*BY_HEART, *overrides, name=name)
    encoder = encoder_of(recipe)
    sample = FimSample(Origin("project", "0" * 40, "ones.py"), "def load():\n    return ", "1" * 40, "\n", form="psm")
    rows = pack([encode_sample(sample, encoder, learn="all")] * 4, row_length=128, pad_id=encoder.pad_id)
    write_rows(rows, open_run(recipe).data / "train", vocabulary_size=encoder.vocabulary_size)
    return recipe


def lines(*losses: float, every: int = 1) -> list[LogLine]:
    return [LogLine(number * every, None, loss, None, None, 0, None, 0.0, 0) for number, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("losses", "over", "best"),
    [
        ((3.0, 2.0, 1.0), False, 2),
        ((3.0, 2.0, 2.5), False, 1),
        ((3.0, 2.0, 2.5, 2.0), True, 1),
        ((3.0, 2.0, 2.5, 1.9, 2.0), False, 3),
        ((1.0, 2.0, 3.0), True, 1),
        ((3.0, math.nan, 2.0), False, 2),
        ((math.nan, 2.0, 1.0), False, 2),
        ((3.0, 2.0, math.nan, math.inf), True, 1),
        ((1.0,), False, None),
        ((), False, None),
    ],
    ids=str,
)
def test_a_training_is_over_after_so_many_losses_without_a_new_lowest(losses: tuple[float, ...], over: bool, best: int | None) -> None:
    """The base's own loss counts, yet is no adapter to keep; of two equal ones the earlier is the best."""
    assert is_over(lines(*losses), TrainSection(early_stopping=2)) is over
    assert not is_over(lines(*losses), TrainSection())
    assert best_step(lines(*losses)) == best


def test_the_best_step_is_kept_and_used(prepare: Prepare) -> None:
    recipe = by_heart(prepare, "train.keep_best=true", "train.keep_checkpoints=1", "train.max_steps=3")
    result, run = train(recipe), open_run(recipe)
    curve = held_out(run.adapter)
    assert curve[1] < curve[0] and curve[1] < min(curve[2], curve[3])
    assert result.steps == 3 and result.kept_step == 1 and result.valid_loss == curve[1]
    assert mean_of_valid(recipe) == pytest.approx(curve[1], abs=1e-5)


def test_a_training_stops_early_and_gives_the_best_step(prepare: Prepare) -> None:
    """Also when it was killed between its end and the adapter: the next start only writes the adapter."""
    recipe, again = (by_heart(prepare, "train.early_stopping=2", "train.max_steps=9", name=name) for name in ("run", "again"))
    result, run = train(recipe), open_run(recipe)
    assert result.steps == 3 and result.kept_step == 1
    assert [*logged(run.adapter)] == [1, 2, 3] and [*held_out(run.adapter)] == [0, 1, 2, 3]
    assert mean_of_valid(recipe) == pytest.approx(held_out(run.adapter)[1], abs=1e-5)
    with_the_adapter_blocked(open_run(again))
    train(again)
    assert outcome(open_run(again).adapter) == outcome(run.adapter)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("adapter=adalora",), "adalora takes ranks away"),
        ((), "no row is held out to measure on; write data.valid_share higher, or leave train.early_stopping out"),
    ],
    ids=["adalora", "nothing held out"],
)
def test_where_the_best_can_not_be_told_it_is_refused(prepare: Prepare, overrides: tuple[str, ...], said: str) -> None:
    recipe = prepare("train.early_stopping=2", *overrides)
    if not overrides:
        write_side(open_run(recipe).data / "valid", recipe, range(0))
    with pytest.raises(TrainError, match=f"train.early_stopping: {said}"):
        train(recipe)
