"""Our parts of a pass come to what the libraries come to."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finetune.base import read_base
from finetune.kernels import kernels
from finetune.kernels.low_rank import _gone
from finetune.kernels.passes import make_zero, without
from finetune.methods import Lora, Method
from finetune.model import load_model
from finetune.recipe import ModelSection
from finetune.records import IGNORED

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS, TOKENS, VOCABULARY = 3, 24, 320


def adapted(path: Path, method: Method, **options: object) -> Any:
    section = ModelSection.model_validate({"path": str(path), "dtype": "float32", **options})
    base = read_base(section)
    torch.manual_seed(0)
    model = method(load_model(base, section), base.family)
    model.config.use_cache = False
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)  # as attached, B is zero and A has no gradient
            elif name.endswith("bias"):
                weight.normal_(std=0.05)  # as made, they are zero, and one that is left out would not be missed
    return model.train()


def batch(learnt: float) -> dict[str, Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(7, VOCABULARY, (ROWS, TOKENS))
    return {"input_ids": ids, "labels": ids.masked_fill(torch.rand(ROWS, TOKENS) >= learnt, IGNORED)}


def passed(model: Any, inputs: dict[str, Any], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The loss and every gradient."""
    model.zero_grad()
    with nullcontext() if dtype is None else torch.autocast("cpu", dtype):
        loss = model(**inputs).loss
    loss.backward()
    return {"loss": loss.detach()} | {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}


def with_kernels(model: Any, inputs: dict[str, Any], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    with kernels(model, cpu=True, half=False, checkpointing=False):
        return passed(model, inputs, dtype)


def error(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """The largest relative error of a gradient, by norms."""
    return max(float((found[name] - exact[name]).norm() / exact[name].norm()) for name in exact if name != "loss")


@pytest.mark.parametrize("learnt", [1.0, 0.3])
@pytest.mark.parametrize("items", [None, 50])
def test_loss_and_gradients_are_those_of_the_libraries(tiny_base: Path, learnt: float, items: int | None) -> None:
    model, inputs = adapted(tiny_base, Lora(dropout=0)), batch(learnt) | ({} if items is None else {"num_items_in_batch": items})
    torch.testing.assert_close(with_kernels(model, inputs), passed(model, inputs), atol=1e-6, rtol=1e-5)


def test_in_4_bits_loss_and_gradients_are_those_of_the_libraries(tiny_base: Path) -> None:
    model, inputs = adapted(tiny_base, Lora(dropout=0), quantization="nf4"), batch(0.5)
    torch.testing.assert_close(with_kernels(model, inputs), passed(model, inputs), atol=1e-5, rtol=1e-4)


def test_a_weight_in_4_bits_is_the_same_whether_kept_or_dequantised_again(tiny_base: Path) -> None:
    """And a block that is computed again drops the same elements."""
    model, inputs = adapted(tiny_base, Lora(dropout=0.3), quantization="nf4", dtype="bfloat16"), batch(0.5)
    torch.manual_seed(3)
    again = with_kernels(model, inputs, torch.bfloat16)
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    torch.manual_seed(3)
    with kernels(model, cpu=True, half=False, checkpointing=True):
        kept = passed(model, inputs, torch.bfloat16)
    torch.testing.assert_close(kept, again, atol=0, rtol=0)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_in_bfloat16_the_error_is_no_larger_than_the_libraries(tiny_base: Path, quantization: str) -> None:
    model, inputs = adapted(tiny_base, Lora(dropout=0), quantization=quantization, dtype="bfloat16"), batch(0.5)
    exact = passed(adapted(tiny_base, Lora(dropout=0), quantization=quantization), inputs)
    usual = error(passed(model, inputs, torch.bfloat16), exact)
    assert error(with_kernels(model, inputs, torch.bfloat16), exact) < 1.2 * usual < 0.2


def test_an_update_is_not_rounded_to_half_precision_where_the_libraries_keep_it_whole(tiny_base: Path) -> None:
    """float16 on a CPU has no autocast: the layer computes in float16 and its update in float32."""
    model = adapted(tiny_base, Lora(dropout=0), dtype="float16")
    layer, x = model.base_model.model.model.layers[0].mlp.c_fc, torch.randn(2, 8, 64, dtype=torch.float16)
    expected = layer(x)
    with kernels(model, cpu=True, half=False, checkpointing=False):
        assert torch.equal(layer(x), expected)


def test_dropout_takes_its_share_and_the_rest_makes_up_for_it(tiny_base: Path) -> None:
    """Against the formula, with the elements that the same seed takes away."""
    model = adapted(tiny_base, Lora(dropout=0.25))
    layer: Any = model.base_model.model.model.layers[0].mlp.c_fc
    a_RI, b_OR = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.randn(2, 200, 64, requires_grad=True)
    torch.manual_seed(5)
    kept = torch.ones_like(x, requires_grad=False)
    make_zero(kept, _gone(x.numel(), 0.25, x.device))
    assert kept.mean() == pytest.approx(0.75, abs=0.01)
    assert kept.unique().tolist() == [0.0, 1.0]
    expected = layer.base_layer(x) + layer.scaling["default"] * (x * kept / 0.75) @ a_RI.t() @ b_OR.t()
    torch.manual_seed(5)
    with kernels(model, cpu=True, half=False, checkpointing=False):
        found = layer(x)
    towards = torch.randn_like(expected)
    inputs = [x, a_RI, b_OR]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, towards), torch.autograd.grad(expected, inputs, towards), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("dropout", [0.02, 0.3, 0.9])
def test_each_element_is_dropped_alike_and_apart_from_the_others(dropout: float) -> None:
    """Shares, at each place and over all, and neighbours that go together, within five standard deviations of independent draws."""
    torch.manual_seed(7)
    draws, count = 2000, 50
    taken = torch.zeros(draws, count + 1)
    for row in taken:
        row.index_fill_(0, _gone(count, dropout, row.device), 1)
    taken = taken[:, :count]
    spread = (dropout * (1 - dropout)) ** 0.5
    torch.testing.assert_close(taken.mean(0), torch.full((count,), dropout), atol=5 * spread / draws**0.5, rtol=0)
    assert float(taken.mean()) == pytest.approx(dropout, abs=5 * spread / (draws * count) ** 0.5)
    assert float(taken.sum(1).var()) == pytest.approx(count * spread**2, rel=0.25)
    for apart in (1, 2, 7):
        together = (taken[:, apart:] * taken[:, :-apart]).mean()
        pairs = draws * (count - apart)
        assert float(together) == pytest.approx(dropout**2, abs=5 * dropout / pairs**0.5)


@pytest.mark.parametrize("count", [1, 2, 100_000])
def test_places_that_are_dropped_are_within_the_tensor_or_fill_up(count: int) -> None:
    torch.manual_seed(8)
    for _ in range(20):
        gone = _gone(count, 0.5, torch.device("cpu"))
        assert bool((gone[1:] >= gone[:-1]).all()) and int(gone[0]) >= 0 and int(gone[-1]) == count
        real = gone[gone < count]
        assert len(real.unique()) == len(real)


def test_in_evaluation_nothing_is_dropped(tiny_base: Path) -> None:
    model, inputs = adapted(tiny_base, Lora(dropout=0.5)).eval(), batch(1.0)
    torch.testing.assert_close(with_kernels(model, inputs), passed(model, inputs), atol=1e-6, rtol=1e-5)


def test_no_logits_are_built_while_it_trains_and_all_are_afterwards(tiny_base: Path) -> None:
    model, inputs = adapted(tiny_base, Lora()), batch(1.0)
    with kernels(model, cpu=True, half=False, checkpointing=False):
        assert model(**inputs).logits.shape == (ROWS, 0, VOCABULARY)
    assert model(input_ids=inputs["input_ids"]).logits.shape == (ROWS, TOKENS, VOCABULARY)
    assert not any("forward" in vars(module) for module in model.modules())


def test_what_a_kernel_does_not_know_is_left_to_the_libraries(tiny_base: Path) -> None:
    model, inputs = adapted(tiny_base, Lora(dora=True, dropout=0)), batch(0.5)
    torch.testing.assert_close(with_kernels(model, inputs), passed(model, inputs), atol=1e-6, rtol=1e-5)


def test_a_batch_without_a_learnt_token_changes_nothing(tiny_base: Path) -> None:
    found = with_kernels(adapted(tiny_base, Lora()), batch(0.0) | {"num_items_in_batch": 5})
    assert all(float(value.abs().sum()) == 0 for value in found.values())


def test_layers_are_as_they_were_even_after_an_error(tiny_base: Path) -> None:
    model = adapted(tiny_base, Lora())
    causal = model.get_base_model()
    before = causal.loss_function
    with pytest.raises(ZeroDivisionError), kernels(model, cpu=True, half=False, checkpointing=False):
        assert isinstance(causal.lm_head, nn.Linear)
        raise ZeroDivisionError
    assert causal.loss_function == before
    assert not causal.lm_head._forward_pre_hooks


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_elements_are_put_aside_for_the_time_of_a_block_whatever_ends_it(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.5, -0.0, torch.inf], [torch.nan, -3.25, 2.0]], dtype=dtype)
    before, places = x.clone(), torch.tensor([1, 3, 5, 6, 6])
    with pytest.raises(ZeroDivisionError), without(x, places):
        assert x.flatten()[[1, 3, 5]].tolist() == [0, 0, 0] and str(float(x[0, 1])) == "0.0"
        assert x.flatten()[[0, 2, 4]].tolist() == [1.5, torch.inf, -3.25]
        _ = 1 // 0
    assert x.view(torch.uint8).equal(before.view(torch.uint8)), "to the bit"
