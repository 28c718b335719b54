"""GELU as compiled here is GELU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu as library_gelu
from transformers.activations import GELUTanh

from finetune.kernels.activation import gelu_kernels


def values() -> Tensor:
    torch.manual_seed(0)
    ends = [0.0, -0.0, 1e-30, -1e-30, 5.0, -5.0, 12.0, -12.0, 1e3, -1e3, 1e9, -1e9]
    return torch.cat([torch.tensor(ends), torch.linspace(-9, 9, 4001), 3 * torch.randn(4000)])


def of(x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The library's, in the format of `x`."""
    x = x.clone().requires_grad_()
    y = library_gelu(x, approximate="tanh")
    return y.detach(), torch.autograd.grad(y, x, gradient)[0]


def error(found: Tensor, exact: Tensor) -> float:
    return float(((found - exact).abs() / exact.abs().clamp(min=1)).max())


def test_values_and_gradients_are_as_near_to_the_exact_ones_as_the_library_s() -> None:
    x = values().requires_grad_()
    gradient = torch.randn(len(x))
    exact, usual = of(x.detach().double(), gradient.double()), of(x.detach(), gradient)
    with gelu_kernels(layer := GELUTanh()):
        y = layer(x)
        (of_x,) = torch.autograd.grad(y, x, gradient)
    for found, library, true in zip((y.detach(), of_x), usual, exact, strict=True):
        assert error(found, true) < max(2 * error(library, true), 1e-6)


@pytest.mark.parametrize("x", [torch.randn(4, 6, dtype=torch.bfloat16), torch.randn(6, 4).t()], ids=["bfloat16", "not in one piece"])
def test_what_is_not_known_is_left_to_the_library(x: Tensor) -> None:
    expected = library_gelu(x, approximate="tanh")
    with gelu_kernels(layer := GELUTanh()):
        assert torch.equal(layer(x), expected)


def test_a_number_that_is_none_stays_none_and_leaves_its_neighbours_alone() -> None:
    x = torch.tensor([1.0, torch.nan, 1.0], requires_grad=True)
    with gelu_kernels(layer := nn.Sequential(GELUTanh())):
        y = layer(x)
    y.nansum().backward()
    assert y.isnan().tolist() == [False, True, False]
    assert x.grad is not None and x.grad.isnan().tolist() == [False, True, False]
    assert "forward" not in vars(layer[0]), "the module is as it was"
