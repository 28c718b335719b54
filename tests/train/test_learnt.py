"""Only what should be learnt is learnt: the loss of a step, worked out by hand from the base's own logits."""

from __future__ import annotations

import pytest
import torch
from training_runs import Prepare, encoder_of, fim_sample, logged

from finetune.base import read_base
from finetune.data.pack import pack
from finetune.data.render import encode_sample
from finetune.data.store import write_rows
from finetune.model import load_model
from finetune.recipe import Recipe
from finetune.records import FimSample, InstructSample, Origin, Sample
from finetune.run import open_run
from finetune.train import train

REQUEST = [InstructSample(Origin("p", "0" * 40, f"{n}.py"), f"Name {n}.", "x = 1\n" * (n % 3), f"name_{n} = {n * n}\n") for n in range(12)]
HOLES = [fim_sample(number) for number in range(12)]


def answer_of(sample: Sample) -> str:
    match sample:
        case FimSample():
            return sample.middle
        case InstructSample():
            return sample.answer
    raise AssertionError(sample)


def by_hand(recipe: Recipe, samples: list[Sample]) -> tuple[float, int]:
    """Mean loss of the tokens to be learnt and their number, each sample alone: all but its first, or the answer's bytes and the end."""
    encoder, base = encoder_of(recipe), read_base(recipe.model)
    model, total, count = load_model(base, recipe.model), 0.0, 0
    for sample in samples:
        ids = torch.tensor([encode_sample(sample, encoder, learn="all").input_ids])
        with torch.no_grad():
            chances_TV = model(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
        each_T = -chances_TV.gather(-1, ids[0, 1:, None])[:, 0]
        learnt = len(each_T) if recipe.data.learn == "all" else len(answer_of(sample).encode()) + 1  # one token a byte, and the end
        total += float(each_T[-learnt:].sum())
        count += learnt
    return total / count, count


@pytest.mark.parametrize("learn", ["all", "answer"])
@pytest.mark.parametrize("samples", [HOLES, REQUEST], ids=["holes", "requests"])
def test_a_step_learns_all_tokens_or_the_answers_alone(prepare: Prepare, samples: list[Sample], learn: str) -> None:
    """OctoPack compared both: all tokens gave 37.2, answers alone 36.3 (arXiv 2308.07124). Packing and padding change nothing."""
    recipe = prepare(f"data.learn={learn}", "train.max_steps=1", "train.batch_size=12", "train.accumulation=1")
    run, encoder = open_run(recipe), encoder_of(recipe)
    rows = [*pack((encode_sample(sample, encoder, learn=recipe.data.learn) for sample in samples), row_length=128, pad_id=encoder.pad_id)]
    assert len(rows) <= 12, "one step is to see them all"
    count = write_rows(rows, run.data / "train", vocabulary_size=encoder.vocabulary_size)
    train(recipe)
    loss, learnt = by_hand(recipe, samples)
    assert logged(run.adapter)[1] == pytest.approx(loss, abs=1e-5)
    assert 0 < learnt < count * 128
