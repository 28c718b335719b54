"""Base and tuned in one batch on a GPU say what each says alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.base import read_base
from finetune.data.render import Encoder, encode_prompt
from finetune.generate import BatchCompleter
from finetune.methods import Lora, load_adapter, save_adapter
from finetune.model import load_model
from finetune.recipe import ModelSection
from finetune.records import FimPrompt, Prompt, Sampling, TextPrompt

PROMPTS: list[Prompt] = [
    TextPrompt("def load(path):\n"),
    FimPrompt("x = ", "\nprint(x)\n"),
    TextPrompt("a"),
    TextPrompt("import os\n" * 12),
]
TRUTHS = ["    return path.read_text()", "1 + 2", "bc", "import sys"]


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_base_and_tuned_each_say_what_they_say_alone(tmp_path: Path, quantization: str) -> None:
    section = ModelSection.model_validate({"dtype": "float32", "quantization": quantization})
    base = read_base(section)
    encoder, length = Encoder(base.tokenizer, base.family), 400
    torch.manual_seed(0)
    model = Lora()(load_model(base, section), base.family)
    with torch.no_grad():
        for weight in (each for each in model.parameters() if each.requires_grad):
            weight.add_(torch.randn_like(weight), alpha=0.03)
    save_adapter(model, tmp_path, base)
    tuned = load_adapter(load_model(base, section), tmp_path)
    assert tuned.device.type == "cuda"
    sampling = Sampling(max_new_tokens=24)
    both = dict(BatchCompleter(tuned, encoder, {"tuned": "tuned"}, context_length=length).fill(PROMPTS, TRUTHS, sampling))
    alone = dict(BatchCompleter(load_model(base, section), encoder, {}, context_length=length).fill(PROMPTS, TRUTHS, sampling))
    for index, filled in alone.items():
        assert both[index].answers[0].text == filled.answers[0].text
        assert both[index].nats[0] == pytest.approx(filled.nats[0], rel=1e-3)
    for index, (prompt, truth) in enumerate(zip(PROMPTS, TRUTHS, strict=True)):
        ids, text = encode_prompt(prompt, encoder), encoder.text(truth)
        assert both[index].nats[1] == pytest.approx(cost(tuned, ids, text), rel=1e-3)
        assert both[index].nats[1] != pytest.approx(both[index].nats[0], rel=1e-3)


def cost(model: Any, ids: list[int], text: list[int]) -> float:
    """Nats of a continuation by the tuned model alone, without a cache."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids + text], device="cuda"), use_cache=False).logits[0, len(ids) - 1 : -1]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(text, device="cuda"), reduction="sum"))
