"""Answers of base and tuned side by side, for methods that peft answers row by row and for those it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.base import read_base
from finetune.data.render import Encoder, encode_prompt
from finetune.generate import BatchCompleter
from finetune.methods import METHODS, OfPeft, load_adapter, save_adapter
from finetune.model import load_model
from finetune.recipe import ModelSection
from finetune.records import FimPrompt, Prompt, Sampling, TextPrompt

PROMPTS: list[Prompt] = [TextPrompt("def load(path):\n"), FimPrompt("x = ", "\nprint(x)\n"), TextPrompt("a")]
TRUTHS = ["    return path.read_text()", "1 + 2", "bc"]
SIX = Sampling(max_new_tokens=6)
# Of peft's other methods one: for all of them base and tuned take a pass each.
KINDS = [kind for kind, method in METHODS if not method.refused and (not issubclass(method, OfPeft) or kind == "vera")]


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tiny_base: Path, tmp_path: Path) -> tuple[BatchCompleter, BatchCompleter, Any]:
    """A completer of base and adapter, one of the base alone, and the tuned model itself."""
    section = ModelSection(path=str(tiny_base), dtype="float32")
    base = read_base(section)
    cls = METHODS[request.param]
    torch.manual_seed(0)
    model = cls.model_validate({name: 8 for name in ("size", "tokens") if name in cls.model_fields})(load_model(base, section), base.family)
    with torch.no_grad():
        for weight in (each for each in model.parameters() if each.requires_grad):
            weight.add_(torch.randn_like(weight), alpha=0.2)
    save_adapter(model, tmp_path, base)
    encoder = Encoder(base.tokenizer, base.family)
    both = BatchCompleter(load_adapter(load_model(base, section), tmp_path), encoder, {"tuned": "tuned"}, context_length=400)
    alone = BatchCompleter(load_model(base, section), encoder, {}, context_length=400)
    return both, alone, load_adapter(load_model(base, section), tmp_path)


def test_base_and_tuned_each_say_what_they_say_alone(opened: tuple[BatchCompleter, BatchCompleter, Any]) -> None:
    both, alone, tuned = opened
    found = dict(both.fill(PROMPTS, TRUTHS, SIX))
    for index, filled in alone.fill(PROMPTS, TRUTHS, SIX):
        assert found[index].answers[0].text == filled.answers[0].text
        assert found[index].nats[0] == pytest.approx(filled.nats[0], rel=1e-5)
    for index, (prompt, truth) in enumerate(zip(PROMPTS, TRUTHS, strict=True)):
        ids, text = encode_prompt(prompt, both.encoder), both.encoder.text(truth)
        assert found[index].nats[1] == pytest.approx(cost(tuned, ids, text), rel=1e-4)
        assert found[index].nats[1] != pytest.approx(found[index].nats[0], rel=1e-4)
        assert found[index].answers[1].text == both.encoder.decode(greedy(tuned, ids, both.encoder.stop_ids)).rstrip("\ufffd")


def cost(model: Any, ids: list[int], text: list[int]) -> float:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids + text]), use_cache=False).logits[0, len(ids) - 1 : -1]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(text), reduction="sum"))


def greedy(model: Any, ids: list[int], stops: Any) -> list[int]:
    """Without any cache: the whole text is read again for each token."""
    said: list[int] = []
    for _ in range(SIX.max_new_tokens):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids + said]), use_cache=False).logits[0, -1].argmax())
        if token in stops:
            break
        said.append(token)
    return said
