from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from finetune.base import BaseFolder, read_base
from finetune.errors import ModelError
from finetune.model import autocast_dtype, faster_in_bfloat16, load_model, load_tokenizer, quantization_config, read_config, weight_dtype
from finetune.recipe import ModelSection

IDS = torch.arange(40).reshape(1, 40) + 10


def opened(path: Path, **options: object) -> tuple[BaseFolder, ModelSection]:
    section = ModelSection.model_validate({"path": str(path), **options})
    return read_base(section), section


@pytest.fixture
def copied(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "copied"))


def test_the_tokenizer_keeps_every_step_of_its_file(tiny_base: Path) -> None:
    """T8: a class chosen by model type drops the step that splits digits."""
    base, _ = opened(tiny_base)
    tokenizer = load_tokenizer(base)
    file = json.loads(base.tokenizer.read_text())
    assert json.loads(tokenizer.backend_tokenizer.to_str())["pre_tokenizer"] == file["pre_tokenizer"]
    assert [step["type"] for step in file["pre_tokenizer"]["pretokenizers"]] == ["Digits", "ByteLevel"]


def test_the_tokenizer_knows_the_ends_and_the_padding_of_the_family(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(opened(tiny_base)[0])
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|endoftext|>", "<fim_pad>")
    assert len(tokenizer) == 7 + 256


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_base_loads_in_every_precision(tiny_base: Path, quantization: str, dtype: str) -> None:
    model = load_model(*opened(tiny_base, quantization=quantization, dtype=dtype))
    full = load_model(*opened(tiny_base, dtype="float32"))
    with torch.no_grad():
        difference = (model(IDS).logits.float() - full(IDS).logits).std() / full(IDS).logits.std()
    assert float(difference) < (1e-6 if (quantization, dtype) == ("none", "float32") else 0.25)
    assert model.get_input_embeddings().get_parameter("weight").dtype == getattr(torch, dtype)
    assert not model.training


@pytest.mark.parametrize("double_quant", [True, False])
def test_a_pass_without_gradients_leaves_4_bit_weights_as_they_are(tiny_base: Path, double_quant: bool) -> None:
    """T4: on a CPU with avx512_bf16 bitsandbytes repacks each layer in place, which ruins training and merging later."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    model = load_model(*opened(tiny_base, quantization="nf4", double_quant=double_quant))
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    before = [dequantize_4bit(layer.weight.data, layer.weight.quant_state).clone() for layer in layers]
    with torch.no_grad():
        model(IDS)
    after = [dequantize_4bit(layer.weight.data, layer.weight.quant_state) for layer in layers]
    assert len(layers) == 12
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_auto_takes_the_precision_of_the_hardware() -> None:
    section = ModelSection()
    exact = ModelSection(dtype="float32")
    assert weight_dtype(section) in (torch.float32, torch.bfloat16, torch.float16)
    assert autocast_dtype(section) in (None, torch.bfloat16, torch.float16)
    assert weight_dtype(exact) == torch.float32 and autocast_dtype(exact) is None


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16"])
def test_4_bit_layers_compute_in_the_format_of_the_pass(dtype: str) -> None:
    """In bfloat16 within a float32 pass, each layer casts twice, and a CPU may multiply at half the rate."""
    section = ModelSection.model_validate({"quantization": "nf4", "dtype": dtype})
    found = quantization_config(section, weight_dtype(section)).bnb_4bit_compute_dtype
    assert found == (autocast_dtype(section) or weight_dtype(section))


def test_a_torn_weight_file_is_named(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"copied: the weights can not be loaded .* copy the model folder again"):
        load_model(*opened(copied))


def test_missing_tensors_are_named(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    del weights["model.layers.1.mlp.c_fc.weight"]
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors are not in .* model\.layers\.1\.mlp\.c_fc\.weight"):
        load_model(*opened(copied))


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"intermediate_size": 256}))
    with pytest.raises(ModelError, match="the weights can not be loaded"):
        load_model(*opened(copied))


def test_an_unknown_architecture_is_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"model_type": "nobody_knows"}))
    with pytest.raises(ModelError, match="nobody_knows"):
        load_model(*opened(copied, family="starcoder2"))


@pytest.mark.parametrize(
    ("able", "faster"),
    [
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, True),
        ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, False),
        ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": False, "cpu_name": "AMD EPYC"}, False),
        ({}, False),
    ],
)
def test_bfloat16_is_taken_where_it_is_multiplied_faster(able: dict[str, object], faster: bool) -> None:
    """An Intel CPU without AMX multiplies it at half the rate of float32."""
    assert faster_in_bfloat16(able) is faster


def test_the_dropouts_of_the_base_are_off_in_training(copied: Path) -> None:
    """And they stay in what is read for an export."""
    config = json.loads((copied / "config.json").read_text())
    dropouts = {"attention_dropout": 0.5, "residual_dropout": 0.5, "embedding_dropout": 0.5}
    (copied / "config.json").write_text(json.dumps(config | dropouts))
    base, section = opened(copied, dtype="float32")
    model = load_model(base, section)
    with torch.no_grad():
        assert torch.equal(model.train()(IDS).logits, model.eval()(IDS).logits)
    assert {name: getattr(read_config(base), name) for name in dropouts} == dropouts
