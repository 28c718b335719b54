"""How the embedded model learns: what is learnt, by which rate, and with an attention that equals torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finetune.demo.pretrain.attention import register
from finetune.demo.pretrain.tokenizer import END, FIM_MIDDLE, FIM_PAD, FIM_PREFIX, FIM_SUFFIX
from finetune.demo.pretrain.train import Schedule, batches, loss_of, new_model, rate, targets

SHAPE = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SCHEDULE = Schedule(
    minutes=10, warmup_steps=4, decay=0.5, tokens_per_step=64, muon_rate=0.01, adam_rate=0.003, weight_decay=0.0, clip=1.0, seed=0
)


def test_only_answers_and_plain_code_are_learnt() -> None:
    row = torch.tensor([[50, 51, END, FIM_PREFIX, 52, FIM_SUFFIX, 53, FIM_MIDDLE, 54, 55, END, FIM_PAD]])
    learnt = targets(row, "answers")
    question = [FIM_PAD] * 4
    assert learnt.tolist() == [[51, END, *question, FIM_MIDDLE, 54, 55, END, FIM_PAD, FIM_PAD]]
    assert targets(row, "all").tolist() == [[*row[0, 1:].tolist(), FIM_PAD]]


@pytest.mark.parametrize("tokens", [128, 300])
def test_attention_in_blocks_equals_torchs_own(tokens: int) -> None:
    model = new_model(SHAPE, seed=0)
    ids_BT = torch.randint(40, 96, (2, tokens), generator=torch.Generator().manual_seed(0))
    model.set_attn_implementation(register())
    ours = torch.autograd.grad(loss_of(model, ids_BT, targets(ids_BT, "all")), model.model.layers[0].self_attn.q_proj.weight)[0]
    model.set_attn_implementation("sdpa")
    theirs = torch.autograd.grad(loss_of(model, ids_BT, targets(ids_BT, "all")), model.model.layers[0].self_attn.q_proj.weight)[0]
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert theirs.abs().max() > 1e-4


def test_the_rate_warms_up_stays_and_ends_at_zero() -> None:
    assert rate(SCHEDULE, 0, 0.0) == 0.25
    assert rate(SCHEDULE, 50, 0.3) == 1.0
    assert rate(SCHEDULE, 50, 0.75) == 0.5
    assert rate(SCHEDULE, 50, 1.0) == 0.0


def test_batches_go_on_after_a_stop_where_they_would_have_gone() -> None:
    rows = np.arange(10 * 16, dtype=np.uint16).reshape(10, 16)
    whole = batches(rows, 64, seed=1)
    first = [next(whole) for _ in range(7)]
    again = batches(rows, 64, seed=1, start=5)
    assert torch.equal(first[5], next(again))
    assert torch.equal(first[6], next(again))
