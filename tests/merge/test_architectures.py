"""A merge of any architecture: the files, read by transformers as anybody would, say what the base with its adapter says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from finetune.base import BaseFolder, read_base
from finetune.errors import ModelError
from finetune.export.checkpoint import check_sound, write_small_files
from finetune.merge import BaseWeights, MergeOptions, Part, merge, read_adapter
from finetune.methods import METHODS, Lora, Method, OfPeft, load_adapter, save_adapter
from finetune.model import load_model
from finetune.quiet import quiet_libraries
from finetune.recipe import ModelSection

quiet_libraries()
IDS = torch.arange(20, 60)[None]
SHAPE = {"vocab_size": 320, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
WIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
OLD = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
HEADS = {"head_dim": 8}
EXPERTS = {"num_experts_per_tok": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "codegen": OLD | {"rotary_dim": 4, "n_ctx": 64},
    "falcon": WIDE,
    "gemma2": WIDE | HEADS | {"sliding_window": 16},
    "gemma3_text": WIDE | HEADS | {"sliding_window": 16},
    "gpt2": OLD,
    "gpt_bigcode": OLD,
    "gpt_neox": WIDE,
    "llama": WIDE | {"tie_word_embeddings": False},
    "llama tied": WIDE | {"tie_word_embeddings": True},
    "mistral": WIDE,
    "mixtral": WIDE | EXPERTS | {"num_local_experts": 4},
    "olmo": WIDE,
    "phi": WIDE,
    "phi3": WIDE,
    "qwen2": WIDE,
    "qwen2_moe": WIDE | EXPERTS | {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 32},
    "qwen3": WIDE | HEADS,
    "stablelm": WIDE,
    "starcoder2": WIDE,
}
QKV = {"gpt2": "c_attn", "gpt_neox": "query_key_value"}
LAST = {"gpt2": "mlp.c_proj", "gpt_neox": "dense_4h_to_h"}
LORA = Lora()
MakeBase = Callable[..., BaseFolder]


@pytest.fixture
def make_base(byte_tokenizer: Callable[[Sequence[str]], Path]) -> MakeBase:
    """A base of random weights, written by transformers."""

    def make(name: str, *, headless: bool = False) -> BaseFolder:
        folder = byte_tokenizer(["<|endoftext|>"])
        torch.manual_seed(0)
        config = AutoConfig.for_model(name.partition(" ")[0], **SHAPE, **ARCHITECTURES[name])
        model: Any = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)  # norms and biases that are no ones and zeros
        (getattr(model, model.base_model_prefix) if headless else model).save_pretrained(folder)
        return base_of(folder)

    return make


def base_of(folder: Path) -> BaseFolder:
    return read_base(section(folder))


def section(folder: Path, **options: Any) -> ModelSection:
    return ModelSection.model_validate({"path": str(folder), "dtype": "float32", "family": "none"} | options)


def adapted(base: BaseFolder, folder: Path, method: Method = LORA) -> torch.Tensor:
    """What the base says with an adapter of random numbers on every linear layer, which is saved to `folder`."""
    model: Any = method(load_model(base, section(base.path)), base.family)
    generator = torch.Generator().manual_seed(1)
    for parameter in (each for each in model.parameters() if each.requires_grad):
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    folder.mkdir()
    save_adapter(model, folder, base)
    return logits(model)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS, use_cache=False).logits


def merged(base: BaseFolder, adapter: Path, folder: Path, **options: Any) -> Path:
    folder.mkdir()
    weights = BaseWeights(base, section(base.path, **options))
    merge(weights, [Part(read_adapter(adapter))], folder=folder, options=MergeOptions(dtype="float32"))
    write_small_files(folder, base, architecture=weights.architecture, dtype="float32")
    check_sound(folder, tied={*weights.tied}, private=())
    return folder


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_merged_files_say_what_base_and_adapter_say(make_base: MakeBase, tmp_path: Path, name: str) -> None:
    base = make_base(name)
    expected = adapted(base, tmp_path / "adapter")
    assert (expected - logits(load_model(base, section(base.path)))).abs().max() > 0.01, "the adapter does something"
    folder = merged(base, tmp_path / "adapter", tmp_path / "out")
    model, found = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    torch.testing.assert_close(logits(model), expected, atol=2e-5, rtol=1e-4)
    assert load_file(folder / "model.safetensors").keys() == load_file(base.path / "model.safetensors").keys()


UPRIGHT = {"oft"}  # not for weights that lie as inputs x outputs, nor are the many of peft's that tests/methods merges
MERGED = [
    (name, kind)
    for name in ("gpt2", "gpt_neox")
    for kind, cls in METHODS
    if cls.merges and not cls.refused and not issubclass(cls, OfPeft) and (name != "gpt2" or kind not in UPRIGHT)
]


@pytest.mark.parametrize(("name", "kind"), MERGED)
def test_other_methods_find_renamed_and_transposed_tensors_too(make_base: MakeBase, tmp_path: Path, name: str, kind: str) -> None:
    base = make_base(name)
    options = {"ia3": {"outputs": [QKV[name]], "inputs": [LAST[name]]}, "oft": {"block_size": 16}}
    expected = adapted(base, tmp_path / "adapter", METHODS[kind].model_validate(options.get(kind, {})))
    folder = merged(base, tmp_path / "adapter", tmp_path / "out")
    torch.testing.assert_close(logits(load_model(base_of(folder), section(folder))), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(UPRIGHT))
def test_a_method_that_transposed_weights_do_not_take_is_refused(make_base: MakeBase, kind: str) -> None:
    base = make_base("gpt2")
    with pytest.raises(ModelError, match=f"adapter={kind}: this gpt2 model keeps its weights as inputs x outputs; write adapter=lora"):
        METHODS[kind]()(load_model(base, section(base.path)), base.family)


@pytest.mark.parametrize("bits", ["nf4", "int8"])
@pytest.mark.parametrize("name", ["gpt_neox", "mixtral"])
def test_renamed_and_joined_tensors_are_dequantised_as_training_saw_them(make_base: MakeBase, tmp_path: Path, name: str, bits: str) -> None:
    base = make_base(name)
    adapted(base, tmp_path / "adapter")
    whole: Any = load_model(base, section(base.path, quantization=bits))
    expected = logits(load_adapter(whole.dequantize(), tmp_path / "adapter"))
    folder = merged(base, tmp_path / "adapter", tmp_path / "out", quantization=bits)
    torch.testing.assert_close(logits(load_model(base_of(folder), section(folder))), expected, atol=2e-5, rtol=1e-4)


def test_files_of_a_model_without_its_head_are_merged_under_their_own_names(make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base("gpt2", headless=True)
    assert "wte.weight" in load_file(base.path / "model.safetensors")
    expected = adapted(base, tmp_path / "adapter")
    folder = merged(base, tmp_path / "adapter", tmp_path / "out")
    assert load_file(folder / "model.safetensors").keys() == load_file(base.path / "model.safetensors").keys()
    torch.testing.assert_close(logits(load_model(base_of(folder), section(folder))), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("held", [{"lm_head.weight"}, {"lm_head.weight", "transformer.wte.weight"}], ids=["the other name", "both names"])
def test_a_shared_embedding_is_found_by_either_of_its_names(make_base: MakeBase, tmp_path: Path, held: set[str]) -> None:
    base = make_base("gpt2")
    tensors = load_file(base.path / "model.safetensors")
    shared = tensors.pop("transformer.wte.weight")
    save_file(tensors | {name: shared.clone() for name in held}, base.path / "model.safetensors", metadata={"format": "pt"})
    base = base_of(base.path)
    expected = adapted(base, tmp_path / "adapter")
    folder = merged(base, tmp_path / "adapter", tmp_path / "out")
    torch.testing.assert_close(logits(load_model(base_of(folder), section(folder))), expected, atol=2e-5, rtol=1e-4)
