"""`finetune plan` counts what torch's allocator holds on a GPU at the highest moment of a step."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Starcoder2Config, Starcoder2ForCausalLM, set_seed

from finetune.base import read_base
from finetune.model import load_model
from finetune.plan import planned
from finetune.plan.limits import here
from finetune.recipe import parse_recipe
from finetune.train.engine import Rows, make_trainer

MIB = 1 << 20
WAYS = [
    ("adapter=lora",),
    ("adapter=lora", "train.gradient_checkpointing=false"),
    ("adapter=lora", "model.quantization=nf4", "train.optimizer=paged_adamw_8bit"),
    ("adapter=full",),
]


@pytest.fixture(scope="module")
def wide_base(byte_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """StarCoder 2's proportions and vocabulary in eight blocks of a quarter of its width."""
    folder: Path = byte_tokenizer(
        ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<repo_name>", "<file_sep>"]
    )
    config = Starcoder2Config(
        vocab_size=49152,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=16384,
        sliding_window=4096,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    Starcoder2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


class Packed(list[dict[str, Tensor]]):
    """Rows of four samples each, everything learnt."""

    def __init__(self, tokens: int) -> None:
        torch.manual_seed(0)
        super().__init__(
            {
                "input_ids": torch.randint(7, 263, (tokens,)),
                "learnt": torch.ones(tokens, dtype=torch.bool),
                "position_ids": torch.arange(tokens) % (tokens // 4),
            }
            for _ in range(8)
        )


def take_workspaces() -> None:
    """What cuBLAS takes from torch's allocator at the first product of each thread: the plan has it in the context that it assumes."""
    weight = torch.ones(64, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    (weight @ weight).sum().backward()


@pytest.mark.parametrize("ways", WAYS, ids=" ".join)
@pytest.mark.parametrize("row_length", [2048, 6144])
def test_a_plan_is_within_five_per_cent(wide_base: Path, tmp_path: Path, ways: tuple[str, ...], row_length: int) -> None:
    settings = {
        "model.path": wide_base,
        "runs": tmp_path,
        "data.row_length": row_length,
        "train.batch_size": 1,
        "train.accumulation": 2,
        "train.learning_rate": "1e-4",
        "train.max_steps": 3,
    }
    recipe = parse_recipe("", [*(f"{key}={value}" for key, value in settings.items()), *ways])
    counted = planned(recipe, here()).highest.size
    take_workspaces()
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    base = read_base(recipe.model)
    model: Any = load_model(base, recipe.model)
    model.config.use_cache = False
    set_seed(0)
    rows: Any = Packed(row_length)
    trainer = make_trainer(recipe, recipe.adapter(model, base.family), Rows(rows, None), staging=tmp_path / "staging", fresh=False)
    trainer.args.save_strategy = "no"
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    held = torch.cuda.max_memory_allocated() - before
    assert abs(counted - held) <= 0.05 * held, f"plan {counted / MIB:.0f} MiB, torch {held / MIB:.0f} MiB"
