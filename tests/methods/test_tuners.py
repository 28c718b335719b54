"""Tuners of ours against the papers' formulas, and against what peft expects of a tuner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from finetune.base import BaseFolder, read_base
from finetune.methods import AdapterH, AdapterP, Full, Parallel, Prefix, Prompt, PTuning, load_adapter, save_adapter
from finetune.methods.tuners import BottleneckConfig, register
from finetune.model import load_model
from finetune.quiet import known_warnings_off
from finetune.recipe import ModelSection

X = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(3))


class OneLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layer = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.fixture
def base(tiny_base: Path) -> BaseFolder:
    return read_base(ModelSection(path=str(tiny_base)))


def tiny(base: BaseFolder) -> PreTrainedModel:
    return load_model(base, ModelSection(path=str(base.path), dtype="float32"))


def wrapped(place: str, **options: Any) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The layer with a bottleneck of three, and its two matrices: D (3 x in), U (out x 3)."""
    from peft import get_peft_model

    register()
    model = get_peft_model(OneLayer(), BottleneckConfig(size=3, **{place: ["layer"]}, **options))
    weights = {name.split("bottleneck_")[1].split(".")[0]: weight for name, weight in model.named_parameters() if "bottleneck_" in name}
    return model, weights["down"], weights["up"]


def test_an_adapter_before_a_layer_adds_to_its_input() -> None:
    """Houlsby et al., eq. of section 2.1: h + U f(D h), with f = tanh as Astraios has it."""
    model, down, up = wrapped("before")
    layer = OneLayer().layer
    torch.testing.assert_close(model(X), layer(X + torch.tanh(X @ down.T) @ up.T))
    assert down.shape == (3, 6) and up.shape == (6, 3)


def test_an_adapter_after_a_layer_adds_to_its_output() -> None:
    model, down, up = wrapped("after", scaling=0.5)
    y = OneLayer().layer(X)
    torch.testing.assert_close(model(X), y + 0.5 * torch.tanh(y @ down.T) @ up.T)
    assert down.shape == (3, 4) and up.shape == (4, 3)


def test_a_parallel_adapter_adds_to_the_output_what_it_makes_of_the_input() -> None:
    """He et al., table 1: h + s f(x D) U."""
    model, down, up = wrapped("parallel", scaling=4.0, activation="relu")
    torch.testing.assert_close(model(X), OneLayer().layer(X) + 4.0 * torch.relu(X @ down.T) @ up.T)
    assert down.shape == (3, 6) and up.shape == (4, 3)


def test_a_bottleneck_that_begins_at_zero_begins_without_effect() -> None:
    model, down, _ = wrapped("after", init="zero")
    assert torch.equal(model(X), OneLayer().layer(X)) and down.abs().sum() > 0


def test_bottlenecks_begin_as_astraios_has_them() -> None:
    torch.manual_seed(0)
    model = load_in_memory(AdapterP())
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            assert weight.std().item() == pytest.approx(0.02, rel=0.05), name


def load_in_memory(method: Any) -> Any:
    from transformers import AutoModelForCausalLM, Starcoder2Config

    from finetune.families import FAMILIES

    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = AutoModelForCausalLM.from_config(Starcoder2Config(vocab_size=320, bos_token_id=0, eos_token_id=0, **shape))
    return method(model, FAMILIES[0])


def test_peft_knows_our_tuners_by_the_one_patch_of_its_enum() -> None:
    """T15: when this fails after an upgrade, `finetune.methods.tuners` is the one place to look at."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
    from peft.utils.peft_types import PeftType

    register()
    count = len(PeftType)
    register()
    assert len(PeftType) == count
    for name in ("BOTTLENECK", "FULL"):
        kind = PeftType(name)
        assert kind is PeftType[name] is getattr(PeftType, name) and kind == name and kind.value == name
        assert kind in list(PeftType) and isinstance(kind, PeftType)
        assert kind in PEFT_TYPE_TO_CONFIG_MAPPING and kind in PEFT_TYPE_TO_TUNER_MAPPING and kind in PEFT_TYPE_TO_PREFIX_MAPPING
    assert PeftType.LORA in PeftType and PeftType("LORA") is PeftType.LORA


@pytest.mark.parametrize("method", [AdapterH(size=8), Parallel(size=8), Full()], ids=["adapter_h", "parallel", "full"])
def test_plain_peft_loads_what_was_saved(base: BaseFolder, tmp_path: Path, method: Any) -> None:
    from peft import PeftModel

    model = method(tiny(base), base.family).eval()
    save_adapter(model, tmp_path, base)
    ids = torch.arange(20)[None]
    with known_warnings_off():
        again = PeftModel.from_pretrained(tiny(base), tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)


def test_our_tuners_generate_as_they_compute(base: BaseFolder) -> None:
    """With a cache, token by token, as without."""
    torch.manual_seed(5)
    model = AdapterH(size=8)(tiny(base), base.family).eval()
    ids = torch.arange(20)[None]
    said = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, min_new_tokens=5, do_sample=False)
    for end in range(20, 25):
        with torch.no_grad():
            assert model(input_ids=said[:, :end]).logits[0, -1].argmax() == said[0, end]


def test_full_fine_tuning_trains_each_weight_once(base: BaseFolder, tmp_path: Path) -> None:
    """Input and output of this base share one matrix: so must the tuned ones, in memory and on disk."""
    from safetensors.torch import load_file

    model = Full()(tiny(base), base.family)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert trained == sum(weight.numel() for weight in tiny(base).parameters())
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert embedding.full_weight["default"] is head.full_weight["default"]
    save_adapter(model, tmp_path, base)
    assert sum(tensor.numel() for tensor in load_file(tmp_path / "adapter_model.safetensors").values()) == trained
    again = load_adapter(tiny(base), tmp_path)
    assert again.get_input_embeddings().full_weight["tuned"] is again.get_output_embeddings().full_weight["tuned"]


def test_a_trained_copy_is_computed_without_the_hooks_of_the_bases_layer(base: BaseFolder) -> None:
    """DeepSpeed's, under ZeRO-3, are to fetch the base's weights: they found copies in their place, and ended the second pass."""
    model, called = Full()(tiny(base), base.family).eval(), []
    for layer in model.modules():
        if hasattr(layer, "full_weight"):
            layer.base_layer.register_forward_pre_hook(lambda layer, _: called.append(layer))
    with torch.no_grad():
        model(input_ids=torch.arange(9)[None])
        assert called == []
        with model.disable_adapter():
            model(input_ids=torch.arange(9)[None])
    assert called


@pytest.mark.parametrize("method", [PTuning(tokens=5), Prompt(tokens=5), Prefix(tokens=5)], ids=lambda method: method.kind)
def test_a_learnt_prompt_is_read_once_whatever_the_padding_and_the_cache(base: BaseFolder, method: Any) -> None:
    """An answer that grows from a cache, out of a prompt padded on the left, is that of the unpadded text read at once."""
    torch.manual_seed(6)
    model = method(tiny(base), base.family).eval()
    text = torch.arange(12)[None] + 30
    padded = torch.cat([torch.full((1, 3), 4), text[:, :8]], dim=1)
    mask = torch.tensor([[0] * 3 + [1] * 8])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        whole = model(input_ids=text).logits
        out = model(input_ids=padded, attention_mask=mask, position_ids=positions, use_cache=True, past_key_values=None)
        torch.testing.assert_close(out.logits[:, 3:], whole[:, :8], atol=1e-5, rtol=1e-5)
        for at in range(8, 12):
            mask = torch.cat([mask, torch.ones(1, 1, dtype=mask.dtype)], dim=1)
            position = torch.tensor([[at]])
            inputs = {"input_ids": text[:, at : at + 1], "attention_mask": mask, "position_ids": position}
            out = model(**inputs, past_key_values=out.past_key_values, use_cache=True)
            torch.testing.assert_close(out.logits[:, 0], whole[:, at], atol=1e-5, rtol=1e-5)
