"""Positions as compiled here are the library's."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM, Starcoder2Config, Starcoder2ForCausalLM
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.starcoder2 import modeling_starcoder2

from finetune.kernels.rotary import rotary_kernels

SHAPE: dict[str, Any] = {"vocab_size": 32, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
MODELS = [
    (modeling_starcoder2, lambda: Starcoder2ForCausalLM(Starcoder2Config(**SHAPE, num_key_value_heads=1))),
    (modeling_qwen2, lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, num_key_value_heads=1))),
]


def turned(module: ModuleType, positions: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys, and the gradients of both."""
    torch.manual_seed(0)
    states = [torch.randn(3, 7, heads, 10, dtype=dtype).transpose(1, 2).requires_grad_() for heads in (4, 2)]
    angles = (positions.unsqueeze(-1) * torch.rand(5)).repeat(1, 1, 2)
    out = module.apply_rotary_pos_emb(*states, angles.cos().to(dtype), angles.sin().to(dtype))
    return [*(each.detach() for each in out), *torch.autograd.grad(sum((each * torch.randn_like(each)).sum() for each in out), states)]


@pytest.mark.parametrize(("module", "model"), MODELS, ids=["starcoder2", "qwen2"])
@pytest.mark.parametrize("rows", [3, 1], ids=["positions of each row", "one row's for all"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_queries_keys_and_gradients_are_those_of_the_library(module: ModuleType, model: Any, rows: int, dtype: torch.dtype) -> None:
    positions = torch.randint(0, 9, (rows, 7)).float()
    library = module.apply_rotary_pos_emb
    expected = turned(module, positions, dtype)
    with rotary_kernels(model()):
        assert module.apply_rotary_pos_emb is not library
        found = turned(module, positions, dtype)
    assert module.apply_rotary_pos_emb is library
    exact = dtype == torch.bfloat16  # left to the library
    torch.testing.assert_close(found, expected, atol=0 if exact else 1e-6, rtol=0 if exact else 1e-6)
    assert [each.stride() for each in found[:2]] == [each.stride() for each in expected[:2]], "what follows is as fast"
