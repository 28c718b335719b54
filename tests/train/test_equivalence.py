"""Ways of training that must come to the same, on the tiny base in exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from training_runs import Prepare, logged

from finetune.base import read_base
from finetune.data.collate import collate
from finetune.data.store import read_rows
from finetune.methods import Lora
from finetune.model import load_model
from finetune.recipe import Recipe
from finetune.records import IGNORED
from finetune.run import open_run
from finetune.train import train

EXACT = ("adapter.dropout=0", "train.max_steps=4", "data.learn=answer")  # answers differ in length: rows weigh differently


def losses(recipe: Recipe) -> dict[int, float]:
    train(recipe)
    return logged(open_run(recipe).adapter)


def test_one_row_eight_times_is_eight_rows_once(prepare: Prepare) -> None:
    """The loss is a mean over the learnt tokens of a whole step, however the step is cut into passes."""
    one = prepare(*EXACT, "train.batch_size=1", "train.accumulation=8", name="one")
    eight = prepare(*EXACT, "train.batch_size=8", "train.accumulation=1", name="eight")
    assert losses(one) == pytest.approx(losses(eight), abs=2e-5)


def test_checkpointing_activations_changes_no_loss(prepare: Prepare) -> None:
    plain = prepare(*EXACT, name="plain")
    recomputed = prepare(*EXACT, "train.gradient_checkpointing=true", name="recomputed")
    assert losses(plain) == pytest.approx(losses(recomputed), abs=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_measuring_while_training_does_not_disturb_4_bit_weights(prepare: Prepare, dtype: str) -> None:
    """T4: on a CPU with avx512_bf16 the first pass without gradients repacks 4-bit weights, unless they are guarded."""
    settings = (*EXACT, "model.quantization=nf4", f"model.dtype={dtype}")
    measured = prepare(*settings, "train.eval_every=1", name="measured")
    alone = prepare(*settings, "train.eval_every=1000", name="alone")
    curve = losses(measured)
    assert curve == pytest.approx(losses(alone), abs=1e-6)
    assert curve[4] < curve[1]


def test_4_bit_training_follows_the_curve_of_full_precision(prepare: Prepare) -> None:
    full, quantised = prepare(*EXACT, name="full"), prepare(*EXACT, "model.quantization=nf4", name="quantised")
    assert losses(full) == pytest.approx(losses(quantised), abs=0.15)


def test_8_bit_training_follows_the_curve_of_full_precision(prepare: Prepare) -> None:
    full, quantised = prepare(*EXACT, name="full"), prepare(*EXACT, "model.quantization=int8", name="quantised")
    assert losses(full) == pytest.approx(losses(quantised), abs=0.15)


def test_packed_rows_give_the_loss_and_the_gradients_of_samples_alone(prepare: Prepare) -> None:
    recipe = prepare()
    rows = read_rows(open_run(recipe).data / "train").with_format("numpy")
    base = read_base(recipe.model)
    torch.manual_seed(0)
    model = Lora(dropout=0)(load_model(base, recipe.model), base.family)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)  # as attached, B is zero and A has no gradient
    model.config.use_cache = False
    packed = collate([rows[0], rows[1]])
    together = gradients(model, [packed], learnt(packed))
    alone = gradients(model, [*samples(packed)], learnt(packed))
    assert together[0] == pytest.approx(alone[0], abs=1e-5)
    for name, gradient in together[1].items():
        torch.testing.assert_close(gradient, alone[1][name], atol=1e-5, rtol=1e-4)


Batch = dict[str, torch.Tensor]


def learnt(batch: Batch) -> int:
    return int((batch["labels"] != IGNORED).sum())


def samples(packed: Batch) -> Iterator[Batch]:
    for row in range(len(packed["input_ids"])):
        starts = [*(packed["position_ids"][row] == 0).nonzero().flatten().tolist(), packed["input_ids"].shape[1]]
        for start, end in zip(starts, starts[1:], strict=False):
            sample = {name: tensor[row : row + 1, start:end] for name, tensor in packed.items()}
            if learnt(sample):
                yield sample


def gradients(model: torch.nn.Module, batches: list[Batch], total: int) -> tuple[float, Batch]:
    model.zero_grad()
    losses = [model(**batch, num_items_in_batch=total).loss for batch in batches]
    sum(losses).backward()
    return float(sum(loss.detach() for loss in losses)), {
        name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad
    }
