"""Passes compiled for a merge: the bits are those of torch's several operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finetune.merge import passes


def anywhere(rows: int, columns: int) -> torch.Tensor:
    """bfloat16 of any bits that are a number: tiny, huge, both zeros."""
    bits = torch.randint(-(1 << 15), 1 << 15, (rows, columns), generator=torch.Generator().manual_seed(7), dtype=torch.int16)
    found = bits.view(torch.bfloat16)
    return torch.where(found.float().abs() < 1e38, found, torch.zeros((), dtype=torch.bfloat16))


@pytest.mark.parametrize("scale", [0.0, 1.2345678901, -3e-39])
def test_one_pass_adds_and_rounds_as_torch_does(scale: float) -> None:
    weights = anywhere(64, 257)
    delta = anywhere(64, 257).float().roll(1, 0) * 1.0009765
    delta[3] = weights[3].float() * 0.00390625  # half of the last place: ties
    wanted = (weights.float() + delta.mul(scale)).to(torch.bfloat16)
    out = torch.empty_like(weights)
    largest = passes.add_scaled(passes.bits(weights), delta.clone().view(-1).numpy(), np.float32(scale), passes.bits(out))
    assert torch.equal(out.view(torch.int16), wanted.view(torch.int16))
    assert largest == int((weights.float() + delta.mul(scale)).abs().view(torch.int32).max())


def test_the_ties_of_one_pass_go_to_the_even_number() -> None:
    weights = torch.ones(1, 8, dtype=torch.bfloat16)
    ulp = 2.0**-7
    delta = torch.tensor([0.5, 1.5, 2.5, -0.25, -0.75, 0.49, 0.51, 0.0]) * ulp
    out = torch.empty_like(weights)
    passes.add_scaled(passes.bits(weights), delta.numpy(), np.float32(1), passes.bits(out))
    assert ((out.float() - 1) / ulp).tolist() == [[0.0, 2.0, 2.0, 0.0, -1.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize("beyond", [3.4e38, float("inf"), float("nan")])
def test_one_pass_says_what_is_no_bfloat16(beyond: float) -> None:
    weights, delta = torch.zeros(3, 5000, dtype=torch.bfloat16), torch.zeros(3, 5000)
    out = torch.empty_like(weights)

    def largest() -> int:
        return int(passes.add_scaled(passes.bits(weights), delta.clone().view(-1).numpy(), np.float32(1), passes.bits(out)))

    delta[1, 7] = torch.finfo(torch.bfloat16).max
    assert largest() <= passes.LARGEST and out.isfinite().all()
    delta[2, 4999] = beyond
    assert largest() > passes.LARGEST
