"""Attention within samples comes to what the library's attention under its mask comes to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM, Qwen2Config, Qwen2ForCausalLM, Starcoder2Config, Starcoder2ForCausalLM

from finetune.base import read_base
from finetune.kernels.attention import Rehearsed, attention_within_samples
from finetune.methods import AdaLora, LnTuning, Lora, Prefix, Prompt
from finetune.model import load_model
from finetune.recipe import ModelSection

pytestmark = pytest.mark.usefixtures("one_thread")
VOCABULARY = 50
LENGTHS = [[5, 18, 1], [24], [7, 8, 9]]  # of the samples of each row
SHAPE: dict[str, Any] = {"vocab_size": VOCABULARY, "attn_implementation": "sdpa", "use_cache": False}
WIDE: dict[str, Any] = SHAPE | {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def starcoder2(window: int | None) -> Any:
    return Starcoder2ForCausalLM(Starcoder2Config(**WIDE, num_key_value_heads=2, sliding_window=window))


def qwen2(layers_without_window: int) -> Any:
    """Layers behind the first so many attend in a window."""
    config = Qwen2Config(**WIDE, num_key_value_heads=1, use_sliding_window=True, sliding_window=6, max_window_layers=layers_without_window)
    return Qwen2ForCausalLM(config)


def gpt_bigcode() -> Any:
    config = GPTBigCodeConfig(**SHAPE, n_positions=32, n_embd=32, n_layer=2, n_head=4, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    return GPTBigCodeForCausalLM(config)


def batch(*, packed: bool = True) -> dict[str, Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(VOCABULARY, (3, 24))
    positions = {"position_ids": torch.stack([torch.cat([torch.arange(each) for each in row]) for row in LENGTHS])}
    return {"input_ids": ids, "labels": ids} | (positions if packed else {})


def passed(model: Any, inputs: dict[str, Tensor], *, ours: bool) -> dict[str, Tensor]:
    """The logits and every gradient."""
    model.zero_grad()
    with attention_within_samples(model) if ours else nullcontext():
        output = model(**inputs)
        output.loss.backward()
    return {"logits": output.logits.detach()} | {
        name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None
    }


MODELS: dict[str, Callable[[], Any]] = {
    "starcoder2": lambda: starcoder2(None),
    "a window shorter than a sample": lambda: starcoder2(6),
    "a window of one token": lambda: starcoder2(1),
    "qwen2, one of two layers in a window": lambda: qwen2(1),
    "gpt_bigcode": gpt_bigcode,
}


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "a sample a row"])
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_are_those_of_the_library(name: str, packed: bool) -> None:
    torch.manual_seed(0)
    model, inputs = MODELS[name]().train(), batch(packed=packed)
    torch.testing.assert_close(passed(model, inputs, ours=True), passed(model, inputs, ours=False), atol=1e-5, rtol=1e-4)


def test_blocks_that_are_computed_again_see_the_same_samples() -> None:
    torch.manual_seed(0)
    model, inputs = starcoder2(6).train(), batch()
    expected = passed(model, inputs, ours=True)
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    torch.testing.assert_close(passed(model, inputs, ours=True), expected, atol=0, rtol=0)


def test_no_product_of_two_samples_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a mask given where a sample fits in the window."""
    seen: list[tuple[int, int, bool]] = []
    real = functional.scaled_dot_product_attention

    def noting(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
        seen.append((query.shape[2], key.shape[2], mask is not None))
        return real(query, key, value, mask, **options)

    monkeypatch.setattr("finetune.kernels.attention.scaled_dot_product_attention", noting)
    passed(starcoder2(18), batch(), ours=True)
    lengths = [each for row in LENGTHS for each in row]
    assert seen == 2 * [(each, each, each > 18) for each in lengths]


def test_a_row_is_one_sample_when_it_is_said_to_be() -> None:
    model, packed, whole = starcoder2(None).eval(), batch(), batch(packed=False)
    with attention_within_samples(model, rehearsed=Rehearsed(beyond_window=False)):
        found = model(input_ids=packed["input_ids"], position_ids=torch.arange(24).expand(3, 24)).logits
    torch.testing.assert_close(found, model(input_ids=whole["input_ids"]).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", [Lora(dropout=0), AdaLora(), LnTuning()], ids=lambda method: method.kind)
def test_samples_are_seen_through_every_kind_of_adapter(tiny_base: Path, method: Any) -> None:
    section = ModelSection(path=str(tiny_base), dtype="float32")
    base = read_base(section)
    torch.manual_seed(0)
    model = method(load_model(base, section), base.family)
    model.config.use_cache = False
    torch.testing.assert_close(passed(model, batch(), ours=True), passed(model, batch(), ours=False), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("method", [Prefix(), Prompt()], ids=["prefix", "prompt"])
def test_a_method_that_writes_before_the_rows_keeps_the_attention_of_the_library(tiny_base: Path, method: Any) -> None:
    section = ModelSection(path=str(tiny_base), dtype="float32")
    base = read_base(section)
    model = method(load_model(base, section), base.family)
    with attention_within_samples(model):
        assert model.config._attn_implementation == "sdpa"


def test_the_model_is_as_it_was_even_after_an_error(tiny_base: Path) -> None:
    section = ModelSection(path=str(tiny_base), dtype="float32")
    base = read_base(section)
    model: Any = Lora()(load_model(base, section), base.family)
    before = [sorted(vars(module)) for module in model.modules()]
    with pytest.raises(ZeroDivisionError), attention_within_samples(model):
        assert model.config._attn_implementation == "within_samples"
        raise ZeroDivisionError
    assert model.config._attn_implementation == "sdpa"
    assert [sorted(vars(module)) for module in model.modules()] == before
    assert not model.get_base_model().base_model._forward_pre_hooks
