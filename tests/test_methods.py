from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, PreTrainedModel, Starcoder2Config

from finetune.base import BaseFolder, read_base
from finetune.errors import ModelError
from finetune.families import FAMILIES, plain_family
from finetune.methods import METHODS, Lora, check_adapter_base, coverage, load_adapter, save_adapter
from finetune.model import load_model
from finetune.recipe import ModelSection, parse_recipe

STARCODER2 = FAMILIES[0]
IDS = torch.arange(40).reshape(1, 40) + 10


def on_meta(config: Starcoder2Config | GPT2Config) -> PreTrainedModel:
    """A model of a shape, without weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def three_billion() -> PreTrainedModel:
    return on_meta(
        Starcoder2Config(
            vocab_size=49152, hidden_size=3072, num_hidden_layers=30, num_attention_heads=24, num_key_value_heads=2, intermediate_size=12288
        )
    )


@pytest.fixture
def base(tiny_base: Path) -> BaseFolder:
    return read_base(ModelSection(path=str(tiny_base)))


def tiny(base: BaseFolder, quantization: str = "none") -> PreTrainedModel:
    return load_model(base, ModelSection.model_validate({"path": str(base.path), "dtype": "float32", "quantization": quantization}))


def stirred(model: torch.nn.Module) -> torch.nn.Module:
    """The model with an adapter that has an effect: as attached, B is zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return model.eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def test_every_linear_layer_of_starcoder2_3b_gets_an_adapter() -> None:
    model = Lora(r=8)(three_billion(), STARCODER2)
    covered = coverage(model)
    assert covered.trainable == 11_919_360
    assert covered.share == 1.0
    assert covered.linear == 30 * (2 * 3072 * 3072 + 2 * 3072 * 256 + 2 * 3072 * 12288)


def test_targets_of_another_architecture_are_refused() -> None:
    """T11: peft takes the one name of three that matches, and trains a third of what was meant."""
    with pytest.raises(
        ModelError, match=r"no linear layer called 'c_attn', 'q_attn'; its blocks have c_fc, c_proj, k_proj, o_proj, q_proj, v_proj"
    ):
        Lora(r=8, targets=("c_proj", "c_attn", "q_attn"))(three_billion(), STARCODER2)


def test_a_target_without_a_name_is_shown_as_it_was_found() -> None:
    with pytest.raises(ModelError, match="no linear layer called '', ' '; its blocks have c_fc"):
        Lora(r=8, targets=("", " ", "q_proj"))(three_billion(), STARCODER2)


def test_coverage_shows_what_chosen_targets_leave_out(base: BaseFolder) -> None:
    covered = coverage(Lora(targets=("q_proj", "k_proj", "v_proj", "o_proj"))(tiny(base), base.family))
    attention, both = 2 * (64 * 64 + 64 * 32), 2 * (64 * 64 + 64 * 32) + 2 * 64 * 128
    assert covered.share == attention / both


def test_a_target_may_name_the_end_of_a_path(base: BaseFolder) -> None:
    assert coverage(Lora(targets=("mlp.c_proj",))(tiny(base), base.family)).adapted == 2 * 64 * 128


def test_a_family_without_targets_takes_every_linear_layer_of_the_blocks() -> None:
    model = on_meta(GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=320))
    adapted = Lora(r=4)(model, plain_family("<|endoftext|>"))
    assert coverage(adapted).share == 1.0
    assert not any("lm_head" in name for name, weight in adapted.named_parameters() if weight.requires_grad)


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_coverage_counts_weights_as_before_quantisation(base: BaseFolder, quantization: str) -> None:
    covered = coverage(Lora(r=4)(tiny(base, quantization), base.family))
    assert covered == coverage(Lora(r=4)(tiny(base), base.family))


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("options", [{}, {"rslora": True}, {"dora": True}], ids=["lora", "rslora", "dora"])
def test_an_adapter_comes_back_from_disk_as_it_was(base: BaseFolder, tmp_path: Path, options: dict[str, bool], quantization: str) -> None:
    model = stirred(Lora.model_validate(options)(tiny(base, quantization), base.family))
    save_adapter(model, tmp_path, base)
    again = load_adapter(tiny(base, quantization), tmp_path)
    assert again.active_adapter == "tuned"
    assert torch.equal(logits(model), logits(again))
    assert not any(weight.requires_grad for weight in again.parameters())


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_without_its_adapter_the_model_is_the_base(base: BaseFolder, quantization: str) -> None:
    expected = logits(tiny(base, quantization))
    model = stirred(Lora()(tiny(base, quantization), base.family))
    assert not torch.allclose(logits(model), expected, atol=1e-2)
    with model.disable_adapter():
        assert torch.equal(logits(model), expected)


def test_one_base_serves_several_adapters(base: BaseFolder, tmp_path: Path) -> None:
    model = stirred(Lora(r=4)(tiny(base), base.family))
    save_adapter(model, tmp_path, base)
    both = load_adapter(load_adapter(tiny(base), tmp_path, name="first"), tmp_path, name="second")
    assert both.active_adapter == "second" and set(both.peft_config) == {"first", "second"}


def test_a_saved_adapter_names_its_base_wherever_it_is_opened_from(base: BaseFolder, tmp_path: Path) -> None:
    """T17: peft writes the path as it was typed, which means nothing in another folder."""
    save_adapter(Lora()(tiny(base), base.family), tmp_path, base)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base.path) and Path(config["base_model_name_or_path"]).is_absolute()
    assert json.loads((tmp_path / "base.json").read_text())["digest"] == base.digest
    assert (tmp_path / "adapter_model.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_base_of_the_hub_is_named_by_its_id_and_commit(base: BaseFolder, tmp_path: Path) -> None:
    from dataclasses import replace

    snapshot = tmp_path / "models--maker--model" / "snapshots" / "abc123"
    save_adapter(Lora()(tiny(base), base.family), tmp_path, replace(base, path=snapshot, name="maker/model"))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("maker/model", "abc123")


def test_an_adapter_of_another_base_is_refused(base: BaseFolder, tmp_path: Path) -> None:
    from dataclasses import replace

    save_adapter(Lora()(tiny(base), base.family), tmp_path, base)
    check_adapter_base(tmp_path, base)
    with pytest.raises(ModelError, match="was trained on"):
        check_adapter_base(tmp_path, replace(base, digest="other"))


def test_a_folder_without_an_adapter_is_named(base: BaseFolder, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter lies here"):
        load_adapter(tiny(base), tmp_path)


def test_a_torn_adapter_is_named(base: BaseFolder, tmp_path: Path) -> None:
    save_adapter(Lora()(tiny(base), base.family), tmp_path, base)
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match=r"adapter_model.safetensors: the file is damaged \(.*\); copy the file again, or train again"):
        load_adapter(tiny(base), tmp_path)


def test_an_adapter_without_its_base_is_refused_by_every_step(base: BaseFolder, tmp_path: Path) -> None:
    save_adapter(Lora()(tiny(base), base.family), tmp_path, base)
    (tmp_path / "base.json").unlink()
    with pytest.raises(ModelError, match="base.json is missing, so the base it belongs to is not known; copy the file again, or train"):
        check_adapter_base(tmp_path, base)


@pytest.mark.parametrize(("name", "within"), [("adapter_model.safetensors", b""), ("adapter_config.json", b"CAUSAL_LM")])
def test_one_bit_that_flipped_in_an_adapter_is_seen_and_an_older_adapter_is_still_read(
    base: BaseFolder, tmp_path: Path, name: str, within: bytes
) -> None:
    save_adapter(Lora()(tiny(base), base.family), tmp_path, base)
    content = bytearray((tmp_path / name).read_bytes())
    content[content.index(within) if within else -3] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{tmp_path / name}: not the file that training wrote .*; copy the file again, or train again"):
        check_adapter_base(tmp_path, base)
    known = json.loads((tmp_path / "base.json").read_text())
    del known["files"]
    (tmp_path / "base.json").write_text(json.dumps(known))
    check_adapter_base(tmp_path, base)


def test_every_method_says_whether_it_merges_and_packs() -> None:
    for kind, method in METHODS:
        assert isinstance(method.merges, bool) and isinstance(method.packs, bool), kind


def test_options_of_a_method_are_checked_with_the_recipe() -> None:
    with pytest.raises(Exception, match=r"adapter\.dropout|adapter: |less than 1"):
        parse_recipe("adapter: {kind: lora, dropout: 1.5}")
