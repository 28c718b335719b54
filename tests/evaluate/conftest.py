"""A tiny base with a LoRA whose weights are random, so that base and tuned say different things."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from finetune.base import read_base
from finetune.data.render import Encoder
from finetune.generate import BatchCompleter
from finetune.methods import Lora
from finetune.model import load_model
from finetune.recipe import ModelSection

if TYPE_CHECKING:
    from peft import PeftModel

Attach = Callable[..., "PeftModel"]


def randomise(model: PeftModel, *, seed: int, name: str = "default") -> None:
    """Gives the adapter an effect: lora_B starts at zero."""
    import torch

    random = torch.Generator().manual_seed(seed)
    for key, weight in model.named_parameters():
        if f"lora_B.{name}." in key:
            weight.data = torch.randn(weight.shape, generator=random) * 0.3


@pytest.fixture(scope="session")
def attach(tiny_base: Path) -> Attach:
    """Loads the tiny base and attaches a random adapter called "default"."""

    def build(quantization: str = "none", *, dora: bool = False) -> PeftModel:
        import torch

        section = ModelSection(path=str(tiny_base), quantization=quantization)
        base = read_base(section)
        torch.manual_seed(1)
        model = Lora(r=4, dora=dora)(load_model(base, section), base.family)
        randomise(model, seed=2)
        model.eval()
        return model

    return build


@pytest.fixture(scope="session")
def encoder(tiny_base: Path) -> Encoder:
    base = read_base(ModelSection(path=str(tiny_base)))
    return Encoder(base.tokenizer, base.family)


@pytest.fixture(scope="session")
def completer(attach: Attach, encoder: Encoder) -> BatchCompleter:
    return BatchCompleter(attach(), encoder, {"tuned": "default"}, context_length=512)
