"""Our parts of a pass on a GPU come to what the libraries come to, and are no further from exact arithmetic."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM, Starcoder2Config, Starcoder2ForCausalLM

from finetune.base import read_base
from finetune.kernels import joined, kernels
from finetune.methods import Lora
from finetune.model import load_model
from finetune.recipe import ModelSection
from finetune.records import IGNORED

LENGTHS = [[70, 121, 1], [192], [60, 64, 68]]  # of the samples of each row
SHAPE: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "attn_implementation": "sdpa",
    "use_cache": False,
}


def starcoder2(window: int | None) -> Any:
    return Starcoder2ForCausalLM(Starcoder2Config(**SHAPE, num_key_value_heads=2, sliding_window=window))


def qwen2(window: int) -> Any:
    """The second layer alone attends in a window."""
    return Qwen2ForCausalLM(
        Qwen2Config(**SHAPE, num_key_value_heads=1, use_sliding_window=True, sliding_window=window, max_window_layers=1)
    )


def batch(*, packed: bool = True) -> dict[str, Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(320, (3, 192))
    labels = ids.masked_fill(torch.rand(ids.shape) > 0.6, IGNORED)
    positions = {"position_ids": torch.stack([torch.cat([torch.arange(each) for each in row]) for row in LENGTHS])}
    inputs = {"input_ids": ids, "labels": labels} | (positions if packed else {})
    return {name: each.cuda() for name, each in inputs.items()}


def passed(model: Any, inputs: dict[str, Tensor], dtype: torch.dtype | None, *, ours: bool) -> dict[str, Tensor]:
    """The loss and every gradient."""
    model.zero_grad()
    with kernels(model, cpu=False, half=dtype is not None, checkpointing=False) if ours else nullcontext():
        with nullcontext() if dtype is None else torch.autocast("cuda", dtype):
            loss = model(**inputs).loss
        loss.backward()
    return {"loss": loss.detach()} | {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def error(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """The largest relative error of a gradient, by norms."""
    return max(float((found[name].float() - exact[name].float()).norm() / exact[name].float().norm()) for name in exact if name != "loss")


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "a sample a row"])
@pytest.mark.parametrize(
    "model", [starcoder2(None), starcoder2(32), starcoder2(1), qwen2(40)], ids=["whole", "window", "one token", "qwen2"]
)
def test_in_bfloat16_the_error_is_no_larger_than_the_libraries(model: Any, packed: bool) -> None:
    torch.manual_seed(0)
    model, inputs = model.cuda().train(), batch(packed=packed)
    exact = passed(model, inputs, None, ours=False)
    usual, ours = (error(passed(model, inputs, torch.bfloat16, ours=each), exact) for each in (False, True))
    assert ours < 1.2 * usual < 0.2


@pytest.mark.parametrize("model", [starcoder2(None), starcoder2(32)], ids=["whole", "window"])
def test_in_float32_it_is_that_of_the_libraries(model: Any) -> None:
    """The kernel of all samples in one call takes 16 bits alone."""
    torch.manual_seed(0)
    model, inputs = model.cuda().train(), batch()
    torch.testing.assert_close(passed(model, inputs, None, ours=True), passed(model, inputs, None, ours=False), atol=1e-5, rtol=1e-3)


def test_samples_of_any_lengths_go_through_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    if not joined.on_gpus():
        pytest.skip("this GPU or torch has no such kernel")
    seen: list[int] = []
    real = joined.attend

    def noting(query: Tensor, key: Tensor, value: Tensor, within: joined.Bounds, **options: Any) -> Tensor:
        seen.append(len(within.ends) - 1)
        return real(query, key, value, within, **options)

    monkeypatch.setattr(joined, "attend", noting)
    passed(starcoder2(None).cuda().train(), batch(), torch.bfloat16, ours=True)
    assert seen == 2 * [sum(len(row) for row in LENGTHS)]


def test_in_4_bits_the_error_is_no_larger_than_the_libraries(tiny_base: Path) -> None:
    exact_model, model = (adapted(tiny_base, dtype) for dtype in ("float32", "bfloat16"))
    assert model.device.type == "cuda"
    exact = passed(exact_model, batch(), None, ours=False)
    usual, ours = (error(passed(model, batch(), torch.bfloat16, ours=each), exact) for each in (False, True))
    assert ours < 1.2 * usual < 0.2


def adapted(path: Path, dtype: str) -> Any:
    """A base in 4 bits with a LoRA that has gradients everywhere."""
    section = ModelSection.model_validate({"path": str(path), "dtype": dtype, "quantization": "nf4"})
    base = read_base(section)
    torch.manual_seed(0)
    model: Any = Lora(dropout=0)(load_model(base, section), base.family)
    model.config.use_cache = False
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return model.train()
