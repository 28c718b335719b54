"""What makes a batch quick, against the plain way of torch, peft and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from finetune.data.render import Encoder
from finetune.generate import BatchCompleter, few_rows
from finetune.generate.few_rows import FEW, few_row_forwards, head_forward, swapped
from finetune.generate.room import RoomyLayer, give_room
from finetune.generate.sharing import Stretch, sharing_of, stretches
from finetune.records import FimPrompt, Sampling

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor


def by_peft(model: PeftModel, ids: Tensor, rows: list[str]) -> Tensor:
    import torch

    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, adapter_names=rows, use_cache=False).logits
        return logits


def by_slices(model: PeftModel, ids: Tensor, rows: list[str], adapters: list[str]) -> Tensor:
    import torch

    sharing = sharing_of(model, [*model.modules()], adapters)
    with torch.no_grad(), sharing(rows)() as more:
        assert not more, "peft's own way was taken"
        logits: Tensor = model(input_ids=ids, use_cache=False).logits
        return logits


def test_neighbours_under_one_adapter_are_one_stretch() -> None:
    assert stretches(["a", "a", "b", "a"]) == [Stretch("a", 0, 2), Stretch("b", 2, 3), Stretch("a", 3, 4)]
    assert stretches([]) == []


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_slices_give_the_logits_of_pefts_own_mixed_batch(attach: Any, quantization: str) -> None:
    """Two adapters of other ranks and targets, the base, and rows in any order."""
    import torch
    from peft import LoraConfig

    model = attach(quantization)
    model.add_adapter("narrow", LoraConfig(r=2, lora_alpha=7, target_modules=["q_proj"]))
    for name, weight in model.named_parameters():
        if "lora_B.narrow" in name:
            torch.nn.init.normal_(weight, std=0.3)
    model.eval()
    rows = ["narrow", "__base__", "__base__", "default", "narrow", "default"]
    ids = torch.randint(5, 250, (len(rows), 9), generator=torch.Generator().manual_seed(0))
    found, expected = by_slices(model, ids, rows, ["default", "narrow"]), by_peft(model, ids, rows)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found[3], by_peft(model, ids, ["__base__"] * 6)[3])


def test_slices_leave_the_model_as_it_was(attach: Any) -> None:
    import torch

    model, ids = attach(), torch.arange(8)[None] + 10
    before = by_peft(model, ids, ["default"])
    by_slices(model, ids, ["__base__"], ["default"])
    assert not any("forward" in vars(module) for module in model.modules())
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids, use_cache=False).logits, before)


def test_an_update_in_another_number_format_than_the_base(attach: Any) -> None:
    """The base in bfloat16, the adapter in float32, as after training a base that was loaded so."""
    import torch

    model = attach()
    for name, weight in model.named_parameters():
        if "lora_" not in name:
            weight.data = weight.data.bfloat16()
    rows, ids = ["__base__", "default"], torch.arange(12).view(2, 6) + 10
    found, expected = by_slices(model, ids, rows, ["default"]), by_peft(model, ids, rows)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected)


def test_a_layer_that_does_more_than_lora_is_left_to_peft(attach: Any) -> None:
    model = attach(dora=True)
    with sharing_of(model, [*model.modules()], ["default"])(["default"])() as more:
        assert more == {"adapter_names": ["default"]}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 3), (4, 1), (2, 2), (5, 1), (3, 7)])
def test_a_weight_on_the_left_gives_the_same_product(shape: tuple[int, int], bias: bool) -> None:
    import torch

    layer = torch.nn.Linear(48, 80, bias=bias)
    x = torch.randn(*shape, 48)
    with torch.no_grad():
        expected = layer(x)
        with swapped(few_row_forwards([layer])):
            found = layer(x)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous() and found.shape == expected.shape
    assert "forward" not in vars(layer)


def test_only_plain_layers_in_float32_are_swapped() -> None:
    import torch

    class Other(torch.nn.Linear):
        pass

    assert few_row_forwards([torch.nn.Linear(2, 2).half(), Other(2, 2), torch.nn.LayerNorm(2)]) == []
    assert len(few_row_forwards([torch.nn.Linear(2, 2)])) == 1


def test_the_last_column_of_many_rows_goes_through_the_head_in_one_product(attach: Any) -> None:
    """torch would take a product a row: its batched one reads the weight anew for each."""
    import torch
    from torch.profiler import profile

    model = attach()
    hidden = torch.randn(16, 7, model.get_output_embeddings().in_features)[:, -1:]
    with torch.no_grad(), profile() as seen, swapped(head_forward(model)):
        found = model.get_output_embeddings()(hidden)
    with torch.no_grad():
        torch.testing.assert_close(found, model.get_output_embeddings()(hidden))
    names = {event.name for event in seen.events()}
    assert "aten::mm" in names and "aten::bmm" not in names
    assert "forward" not in vars(model.get_output_embeddings())


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("rows", [["default"], ["__base__", "default"], ["default", "default", "__base__"]])
def test_stretches_of_one_row_and_of_several(attach: Any, rows: list[str], tokens: int) -> None:
    import torch

    model = attach()
    ids = torch.randint(5, 250, (len(rows), tokens), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(by_slices(model, ids, rows, ["default"]), by_peft(model, ids, rows), rtol=1e-4, atol=1e-4)


def test_a_cache_with_room_holds_what_a_growing_one_holds() -> None:
    """Through more tokens than its room, rows that leave, and a copy that goes another way."""
    import copy

    import torch
    from transformers import DynamicCache

    plain, roomy = DynamicCache(), DynamicCache()
    first = torch.randn(3, 2, 5, 4)
    for cache in (plain, roomy):
        cache.update(first, -first, 0)
    give_room(roomy)
    assert [type(layer) for layer in roomy.layers] == [RoomyLayer]
    for step in range(150):
        if step == 80:
            aside = copy.deepcopy(roomy)
            aside.update(torch.zeros(3, 2, 1, 4), torch.zeros(3, 2, 1, 4), 0)
            for cache in (plain, roomy):
                cache.batch_select_indices(torch.tensor([0, 2]))
        new = torch.randn(2 if step >= 80 else 3, 2, 1, 4)
        keys, values = roomy.update(new, -new, 0)
        expected, _ = plain.update(new, -new, 0)
        assert torch.equal(keys, expected) and torch.equal(values, -expected)
        assert roomy.get_seq_length() == plain.get_seq_length() == 6 + step


@pytest.mark.parametrize("vendor", ["AuthenticAMD", "GenuineIntel"])
def test_more_rows_than_few_say_what_each_says_alone(
    attach: Any, encoder: Encoder, vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three prompts of two arms are beyond few rows until some have ended: on AMD both orders of the product in one answer."""
    monkeypatch.setattr(few_rows, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    completer = BatchCompleter(attach(), encoder, {"tuned": "default"}, context_length=512)
    prompts = [FimPrompt("def f(x):\n", "\n"), FimPrompt("import os\n", "x = 1\n"), FimPrompt("class B:\n    ", "")]
    assert 2 * len(prompts) not in FEW
    assert bool(completer._engine.few) == (vendor == "AuthenticAMD")
    sampling = Sampling(max_new_tokens=20)
    together = completer.complete(prompts, sampling)
    for prompt, answers in zip(prompts, together, strict=True):
        for answer in answers:
            (*_, (alone,)) = completer.stream(prompt, sampling, arms=[answer.arm])
            assert alone.text == answer.text
