"""What is promised of each method, on a tiny base, in full precision and on a quantised one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from finetune.base import BaseFolder, read_base
from finetune.errors import ExportError
from finetune.merge import BaseWeights, MergeOptions, Part, merge, read_adapter
from finetune.methods import METHODS, Lora, Method, load_adapter, save_adapter
from finetune.model import load_model
from finetune.recipe import ModelSection

IDS = torch.randint(10, 300, (2, 24), generator=torch.Generator().manual_seed(0))
OFFERED = {kind: cls for kind, cls in METHODS if not cls.refused}
CASES = [(kind, bits) for kind, cls in OFFERED.items() for bits in ("none", "nf4", "int8") if bits == "none" or cls.trains_quantised]
SIZES = {"size": 8, "tokens": 8, "group_size": 32, "block_size": 32}  # what fits the tiny base


@dataclass
class Trained:
    """A method after three steps, with the base as it was before."""

    method: Method
    base: BaseFolder
    section: ModelSection
    model: Any
    losses: list[float]
    base_logits: torch.Tensor
    base_weights: dict[str, torch.Tensor]
    unmoved: list[str]

    def again(self) -> Any:
        return load_model(self.base, self.section)


def logits(model: torch.nn.Module, **options: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS, **options).logits


def small(kind: str) -> Method:
    fields = OFFERED[kind].model_fields
    return OFFERED[kind].model_validate({name: value for name, value in SIZES.items() if name in fields})


def open_base(tiny_base: Path, bits: str) -> tuple[BaseFolder, ModelSection]:
    section = ModelSection.model_validate({"path": str(tiny_base), "dtype": "float32", "quantization": bits})
    return read_base(section), section


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def trained(request: pytest.FixtureRequest, tiny_base: Path) -> Iterator[Trained]:
    kind, bits = request.param
    base, section = open_base(tiny_base, bits)
    model = load_model(base, section)
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    before = logits(model)
    torch.manual_seed(1)
    method = small(kind)
    adapted = method(model, base.family).train()
    learns = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    started = {name: weight.detach().clone() for name, weight in learns.items()}
    optimizer = torch.optim.AdamW(learns.values(), lr=2e-2, weight_decay=0)
    losses = []
    for _ in range(4):
        loss = adapted(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    unmoved = [name for name, weight in learns.items() if torch.equal(weight, started[name])]
    yield Trained(method, base, section, adapted.eval(), losses, before, weights, unmoved)


def test_three_steps_lower_the_loss(trained: Trained) -> None:
    assert trained.losses[3] < trained.losses[0] - 0.01


def test_every_tensor_that_is_to_learn_does(trained: Trained) -> None:
    assert trained.unmoved == []


def test_samples_that_share_a_row_do_not_see_each_other_or_packing_is_refused(trained: Trained) -> None:
    """T1, T2: with restarting positions and without a cache the second sample's logits are those it has alone."""
    if trained.section.quantization != "none":
        return  # 4 and 8 bits round, and round otherwise for another number of tokens
    first, second = IDS
    inputs = {"position_ids": torch.arange(24)[None], "use_cache": False}
    with torch.no_grad():
        alone = trained.model(input_ids=second[None], **inputs).logits[0]
        inputs["position_ids"] = inputs["position_ids"].repeat(1, 2)
        together = trained.model(input_ids=torch.cat([first, second])[None], **inputs).logits[0, 24:]
    assert bool((together - alone).abs().max() < 1e-4) is trained.method.packs


def test_nothing_of_the_base_learns(trained: Trained) -> None:
    held = {id(weight) for weight in trained.model.parameters() if not weight.requires_grad}
    inner = trained.model.get_base_model()
    now = {name.replace(".base_layer", ""): weight for name, weight in inner.named_parameters() if id(weight) in held}
    assert now.keys() >= trained.base_weights.keys()
    for name, weight in trained.base_weights.items():
        assert torch.equal(now[name], weight), name


def test_without_its_adapter_the_model_is_the_base_to_the_bit(trained: Trained) -> None:
    assert not torch.equal(logits(trained.model), trained.base_logits)
    with trained.model.disable_adapter():
        assert torch.equal(logits(trained.model), trained.base_logits)


def test_it_comes_back_from_disk_to_the_bit(trained: Trained, tmp_path: Path) -> None:
    save_adapter(trained.model, tmp_path, trained.base)
    again = load_adapter(trained.again(), tmp_path)
    assert torch.equal(logits(again), logits(trained.model))
    assert not any(weight.requires_grad for weight in again.parameters())


def test_the_same_adapter_is_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_adapter(trained.model, tmp_path / name, trained.base)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_it_merges_or_refuses_as_it_says(trained: Trained, tmp_path: Path) -> None:
    """Against the adapter on the dequantised base: 4-bit layers compute in bfloat16, which is another rounding."""
    save_adapter(trained.model, tmp_path, trained.base)
    if not trained.method.merges:
        with pytest.raises(ExportError, match="can not be merged into the weights; write export=adapter"):
            read_adapter(tmp_path)
        return
    (tmp_path / "out").mkdir()
    weights = BaseWeights(trained.base, trained.section)
    written = merge(weights, [Part(read_adapter(tmp_path))], folder=tmp_path / "out", options=MergeOptions(dtype="float32"))
    plain = AutoModelForCausalLM.from_pretrained(trained.base.path, dtype=torch.float32)
    for file in written.files:
        assert not plain.load_state_dict(load_file(tmp_path / "out" / file), strict=False).unexpected_keys
    base = trained.again() if trained.section.quantization == "none" else trained.again().dequantize()
    expected = logits(load_adapter(base, tmp_path))
    torch.testing.assert_close(logits(plain), expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["adapter_h", "adapter_p", "full", "lora", "parallel"])
@pytest.mark.parametrize("bits", ["none", "nf4"])
def test_rows_of_one_batch_are_each_under_their_own_adapter(tiny_base: Path, tmp_path: Path, kind: str, bits: str) -> None:
    if bits == "nf4" and not OFFERED[kind].trains_quantised:
        pytest.skip("full fine-tuning needs a base in full precision")
    model, alone = two_adapters(tiny_base, tmp_path, kind, bits)
    rows = ["second", "__base__", "first", "second"]
    together = logits_of(model, IDS[:1].expand(4, -1), adapter_names=rows)
    for row, name in enumerate(rows):
        torch.testing.assert_close(together[row], alone[name][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["adapter_h", "full", "ia3", "p_tuning", "prefix"])
def test_switching_between_adapters_leaves_each_as_it_was(tiny_base: Path, tmp_path: Path, kind: str) -> None:
    model, alone = two_adapters(tiny_base, tmp_path, kind, "none")
    for name in ("first", "second", "first"):
        model.set_adapter(name)
        assert torch.equal(logits_of(model, IDS[:1]), alone[name])


def two_adapters(tiny_base: Path, folder: Path, kind: str, bits: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """A model with adapters "first" and "second", and what each alone, and the base, say to the first row."""
    base, section = open_base(tiny_base, bits)
    alone = {"__base__": logits_of(load_model(base, section), IDS[:1])}
    both: Any = load_model(base, section)
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        model = small(kind)(load_model(base, section), base.family)
        with torch.no_grad():
            for weight in (each for each in model.parameters() if each.requires_grad):
                weight.add_(torch.randn_like(weight), alpha=0.05)
        (folder / name).mkdir()
        save_adapter(model, folder / name, base)
        alone[name] = logits_of(load_adapter(load_model(base, section), folder / name), IDS[:1])
        both = load_adapter(both, folder / name, name=name)
    return both, alone


def logits_of(model: torch.nn.Module, ids: torch.Tensor, **options: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=ids, **options).logits


def test_qlora_is_lora_on_a_4_bit_base_with_double_quantisation(tiny_base: Path) -> None:
    import bitsandbytes

    base, section = open_base(tiny_base, "nf4")
    model = Lora()(load_model(base, section), base.family)
    layers = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 12 and all(layer.weight.quant_state.nested for layer in layers)
