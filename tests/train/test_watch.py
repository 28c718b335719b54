"""A loss that is lost stops the training and names the rows it was lost on."""

from __future__ import annotations

import json
import re
import shutil
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_runs import Prepare, encoder_of, fim_sample

from finetune.data.pack import pack
from finetune.data.render import encode_sample
from finetune.data.store import write_rows
from finetune.errors import TrainError
from finetune.recipe import Recipe
from finetune.records import FimSample, Origin
from finetune.run import Run, open_run
from finetune.train import train
from finetune.train.log import LogLine
from finetune.train.watch import LASTING, LEAST, MARGIN, WINDOW, rise


@pytest.fixture
def poisoned_base(tiny_base: Path, tmp_path: Path) -> Path:
    """The tiny base with an untied head, in which the letter Z makes every loss of its sample nan."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "poisoned"
    model = AutoModelForCausalLM.from_pretrained(tiny_base, tie_word_embeddings=False)
    model.lm_head.weight = torch.nn.Parameter(model.model.embed_tokens.weight.detach().clone())
    vocabulary = json.loads((tiny_base / "tokenizer.json").read_text())["model"]["vocab"]
    with torch.no_grad():
        model.model.embed_tokens.weight[vocabulary["Z"]] = float("nan")
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_base / name, folder / name)
    return folder


def put_rows(recipe: Recipe, *, poisoned: int) -> Run:
    """Forty rows of which one holds the letter."""
    run, encoder = open_run(recipe), encoder_of(recipe)
    bad = FimSample(Origin("project", "0" * 40, "z.py"), "def Z():\n    ", "return 1", "\n", form="psm")
    samples = [bad if number == poisoned else fim_sample(number) for number in range(40)]
    rows = [row for sample in samples for row in pack([encode_sample(sample, encoder, learn="all")], row_length=128, pad_id=encoder.pad_id)]
    write_rows(rows, run.data / "train", vocabulary_size=encoder.vocabulary_size, longest=128)
    return run


def test_a_loss_that_is_no_number_names_the_rows_of_its_pass(prepare: Prepare, poisoned_base: Path) -> None:
    run = put_rows(prepare("train.max_steps=10", base=poisoned_base), poisoned=37)
    with pytest.raises(TrainError) as caught:
        train(run.recipe)
    message, told = str(caught.value), json.loads((run.folder / "bad_batch.json").read_text())
    assert re.match(r"step \d+: the loss is nan\. The rows of .*/data/train it came with: ", message)
    assert "train.learning_rate" in message and "data.exclude" in message and str(run.folder / "bad_batch.json") in message
    (only,) = told["passes"]
    assert 37 in only["rows"] and len(only["rows"]) == 2, "the pass alone, not the step of two passes"
    assert "def Z()" in only["texts"][only["rows"].index(37)]
    assert all(f"row {row} begins " in message for row in only["rows"])
    assert not run.done("train") and not run.adapter.exists()


def test_a_gradient_that_is_no_number_is_stopped_before_it_spoils_the_weights(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finite loss can have an infinite gradient; clipping it would make every weight nan, and the next batch would be blamed."""
    import torch

    run = put_rows(prepare("train.max_steps=3", "train.max_grad_norm=0.5"), poisoned=99)
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *args, **named: clip(*args, **named) * float("inf"))
    with pytest.raises(TrainError, match=r"step 1: the norm of the gradient is inf, of finite losses\. The rows of"):
        train(run.recipe)
    told = json.loads((run.folder / "bad_batch.json").read_text())
    assert len(told["passes"]) == 2 and all(float(each["loss"]) < 10 for each in told["passes"])


def test_a_last_update_that_breaks_the_model_is_no_result(prepare: Prepare) -> None:
    """Its loss is finite, and there is no next one: only the held-out rows tell."""
    recipe = prepare("train.learning_rate=1e30", "train.max_steps=1")
    said = r"step 1: the loss on held-out rows is (nan|inf), where it was \d\.\d+ before\. The rows of .*/data/train it came with: row \d+ "
    with pytest.raises(TrainError, match=said):
        train(recipe)
    run = open_run(recipe)
    assert not run.done("train") and not run.adapter.exists() and not [*run.checkpoints.glob("checkpoint-*")]


def test_held_out_rows_that_the_base_itself_gives_no_number_for_blame_no_step(prepare: Prepare, poisoned_base: Path) -> None:
    recipe = prepare("train.max_steps=1", base=poisoned_base)
    run, encoder = put_rows(recipe, poisoned=99), encoder_of(recipe)
    bad = FimSample(Origin("project", "0" * 40, "z.py"), "def Z():\n    ", "return 1", "\n", form="psm")
    rows = pack([encode_sample(bad, encoder, learn="all")], row_length=128, pad_id=encoder.pad_id)
    write_rows(rows, run.data / "valid", vocabulary_size=encoder.vocabulary_size)
    result = train(recipe)
    assert result.steps == 1 and str(result.valid_loss) == str(result.valid_loss_before) == "nan"


DIVERGING = (
    "adapter=full",
    "train.max_steps=12",
    "train.epochs=99",
    "train.warmup_steps=20",
    "train.learning_rate=1",
    "train.max_grad_norm=1e9",
    "train.accumulation=1",
    "train.save_every=1",
    "train.eval_every=99",
)


def test_a_loss_that_rises_and_stays_up_names_the_rows_before_it(prepare: Prepare) -> None:
    recipe = prepare(*DIVERGING, "train.spike=1.2")
    run = open_run(recipe)
    with pytest.raises(TrainError) as caught:
        train(recipe)
    found = re.match(r"step (\d+): the loss rose from ([\d.]+) to ([\d.]+) and kept up to step (\d+)\. The rows of ", str(caught.value))
    assert found, caught.value
    first, usual, risen, last = (float(number) for number in found.groups())
    assert risen > 1.2 * usual and last == first + LASTING - 1
    told = json.loads((run.folder / "bad_batch.json").read_text())
    assert {each["step"] for each in told["passes"]} == {first - 1, first} and len(told["passes"]) == 2
    assert [float(each["loss"]) for each in told["passes"]] == sorted((float(each["loss"]) for each in told["passes"]), reverse=True)
    newest = max(int(path.name.split("-")[1]) for path in run.checkpoints.glob("checkpoint-*"))
    assert newest == first - 1, "no checkpoint of the broken model took the place of a good one"
    assert (run.checkpoints / "loss.png").exists()


def test_a_training_that_is_told_not_to_look_goes_on(prepare: Prepare) -> None:
    recipe = prepare(*DIVERGING, "train.spike=null")
    assert train(recipe).steps == 12


def lines(losses: list[float]) -> list[LogLine]:
    return [LogLine(number + 1, loss, None, None, None, 0, None, 0.0, 0) for number, loss in enumerate(losses)]


usual = st.lists(st.floats(0.5, 1.0), min_size=LEAST, max_size=60)


@given(before=usual, odd=st.lists(st.floats(3.1, 100), min_size=1, max_size=LASTING - 1))
def test_an_odd_file_is_no_rise(before: list[float], odd: list[float]) -> None:
    """A row of numbers in a project of code has a high loss, and the next one has none."""
    assert rise(lines([*before, *odd]), times=3, lasting=LASTING) is None
    assert rise(lines([*before, *odd, before[0]]), times=3, lasting=LASTING) is None


@given(before=usual, high=st.lists(st.floats(3.1, 1e6), min_size=LASTING, max_size=LASTING))
def test_a_rise_that_lasts_is_found_at_its_first_step(before: list[float], high: list[float]) -> None:
    found = rise(lines([*before, *high]), times=3, lasting=LASTING)
    assert found is not None and found.first.step == len(before) + 1 and 0.5 <= found.usual <= 1.0


@given(before=st.lists(st.floats(2.0, 5.0), min_size=LEAST, max_size=WINDOW), times=st.floats(1.6, 9), share=st.floats(1e-6, 1e-3))
def test_well_above_zero_a_rise_is_what_lies_beyond_so_many_times_the_usual(before: list[float], times: float, share: float) -> None:
    limit = times * statistics.median(before)
    assert rise(lines([*before, *[limit * (1 - share)] * LASTING]), times=times, lasting=LASTING) is None
    assert rise(lines([*before, *[limit * (1 + share)] * LASTING]), times=times, lasting=LASTING) is not None


@given(before=st.lists(st.floats(0.0, 0.1), min_size=LEAST, max_size=60), high=st.lists(st.floats(0.1, MARGIN), min_size=LASTING))
def test_near_zero_a_multiple_is_no_rise(before: list[float], high: list[float]) -> None:
    assert rise(lines([*before, *high]), times=3, lasting=LASTING) is None


@given(losses=st.lists(st.floats(0, 1e6), max_size=LEAST + LASTING - 1))
def test_a_training_that_has_just_begun_is_not_judged(losses: list[float]) -> None:
    assert rise(lines(losses), times=3, lasting=LASTING) is None
