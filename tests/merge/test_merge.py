"""Merging on disk against peft's own merging in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.base import BaseFolder, read_base
from finetune.errors import ExportError
from finetune.merge import INDEX, BaseWeights, MergeOptions, Part, merge, read_adapter
from finetune.methods import CONFIG, WEIGHTS, load_adapter, save_adapter
from finetune.model import load_model
from finetune.recipe import ModelSection

SmallBase = Callable[[Any], BaseFolder]
BLOCKS = ["q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"]


def section(base: Path, **options: Any) -> ModelSection:
    return ModelSection.model_validate({"path": str(base), "dtype": "float32"} | options)


def adapt(base: BaseFolder, model: ModelSection, folder: Path, **options: Any) -> Any:
    """A peft model whose adapter holds random numbers everywhere; saved to `folder`."""
    from peft import LoraConfig, get_peft_model

    from finetune.quiet import known_warnings_off

    with known_warnings_off():
        peft_model = get_peft_model(load_model(base, model), LoraConfig(**({"r": 4, "lora_alpha": 8, "target_modules": BLOCKS} | options)))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in peft_model.named_parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator).to(parameter)
            assert "base_layer" not in name
    save_adapter(peft_model, folder, base)
    return peft_model.eval()


def on_disk(base: BaseFolder, model: ModelSection, adapter: Path, out: Path, **options: Any) -> dict[str, torch.Tensor]:
    out.mkdir()
    weights = BaseWeights(base, model)
    parts = [Part(read_adapter(adapter), options.pop("strength", 1.0))]
    merged = merge(weights, parts, folder=out, options=MergeOptions(**({"dtype": "float32"} | options)))
    return {name: tensor for file in merged.files for name, tensor in load_file(out / file).items()}


def in_memory(base: BaseFolder, model: ModelSection, adapter: Path) -> dict[str, torch.Tensor]:
    """peft's own merge, on a base that transformers has dequantised where bitsandbytes had quantised it."""
    loaded = load_model(base, model)
    if model.quantization != "none":
        loaded = loaded.dequantize()
    merged = load_adapter(loaded, adapter).merge_and_unload()
    return {name: tensor for name, tensor in merged.state_dict().items() if name != "lm_head.weight"}


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> BaseFolder:
    return read_base(ModelSection(path=str(tiny_base)))


@pytest.mark.parametrize(
    "options",
    [{}, {"use_rslora": True}, {"use_dora": True}, {"alpha_pattern": {"c_fc": 3}, "rank_pattern": {"layers.1.self_attn.q_proj": 2}}],
    ids=["lora", "rslora", "dora", "patterns"],
)
def test_a_float32_merge_equals_the_one_in_memory_to_the_bit(base: BaseFolder, tmp_path: Path, options: dict[str, Any]) -> None:
    model = section(base.path)
    adapt(base, model, tmp_path, **options)
    ours = on_disk(base, model, tmp_path, tmp_path / "out")
    theirs = in_memory(base, model, tmp_path)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    before = load_file(base.path / "model.safetensors")
    changed = {name for name in ours if not torch.equal(ours[name], before[name])}
    assert len(changed) == 2 * len(BLOCKS)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("double_quant", [True, False])
def test_a_merge_into_the_dequantised_base_equals_the_one_in_memory_to_the_bit(
    base: BaseFolder, tmp_path: Path, quantization: str, double_quant: bool
) -> None:
    model = section(base.path, quantization=quantization, double_quant=double_quant)
    adapt(base, model, tmp_path)
    theirs = in_memory(base, model, tmp_path)
    ours = on_disk(base, model, tmp_path, tmp_path / "out")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name].float()), name


@pytest.fixture
def small_base(byte_tokenizer: Callable[[Sequence[str]], Path]) -> SmallBase:
    """Makes a base of random weights of another architecture."""

    def make(config: Any) -> BaseFolder:
        from transformers import AutoModelForCausalLM

        folder = byte_tokenizer(["<|endoftext|>"])
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        return read_base(ModelSection(path=str(folder), family="none"))

    return make


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_layers_that_keep_their_weights_transposed_are_merged_the_right_way_round(
    small_base: SmallBase, tmp_path: Path, quantization: str
) -> None:
    from transformers import GPT2Config

    base = small_base(GPT2Config(vocab_size=320, n_embd=64, n_layer=1, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0))
    model = section(base.path, quantization=quantization, family="none")
    adapt(
        base, model, tmp_path, target_modules=["c_attn", "c_proj"], fan_in_fan_out=quantization == "none", use_dora=quantization == "none"
    )
    theirs = in_memory(base, model, tmp_path)
    ours = on_disk(base, model, tmp_path, tmp_path / "out")
    for name, tensor in ours.items():
        other = theirs[name].float()
        assert torch.allclose(tensor, oriented(other, tensor, name) if quantization == "nf4" else other, atol=1e-6), name


def oriented(theirs: torch.Tensor, ours: torch.Tensor, name: str) -> torch.Tensor:
    """transformers dequantises a Conv1D into a Linear: the other way round than the file."""
    return theirs.T if ours.dim() == 2 and ".c_" in name else theirs


def test_a_half_precision_merge_is_rounded_once(base: BaseFolder, tmp_path: Path) -> None:
    model = section(base.path, quantization="nf4")
    adapt(base, model, tmp_path)
    exact = on_disk(base, model, tmp_path, tmp_path / "exact")
    for dtype in ("bfloat16", "float16"):
        rounded = on_disk(base, model, tmp_path, tmp_path / dtype, dtype=dtype)
        assert all(torch.equal(rounded[name], tensor.to(getattr(torch, dtype))) for name, tensor in exact.items())


def test_the_original_base_takes_the_very_same_change(base: BaseFolder, tmp_path: Path) -> None:
    nf4, plain = section(base.path, quantization="nf4"), section(base.path)
    adapt(base, nf4, tmp_path)
    into_original = on_disk(base, nf4, tmp_path, tmp_path / "nf4", original=True)
    assert all(torch.equal(into_original[name], tensor) for name, tensor in on_disk(base, plain, tmp_path, tmp_path / "plain").items())


def test_strength_scales_what_was_learnt(base: BaseFolder, tmp_path: Path) -> None:
    model = section(base.path)
    adapt(base, model, tmp_path)
    before = load_file(base.path / "model.safetensors")
    whole = on_disk(base, model, tmp_path, tmp_path / "whole")
    half = on_disk(base, model, tmp_path, tmp_path / "half", strength=0.5)
    for name, tensor in half.items():
        assert torch.allclose(tensor, (before[name] + whole[name]) / 2, atol=1e-6)


def test_large_weights_are_written_as_bounded_files_with_an_index(base: BaseFolder, tmp_path: Path) -> None:
    model = section(base.path)
    adapt(base, model, tmp_path)
    whole = on_disk(base, model, tmp_path, tmp_path / "whole")
    parts = on_disk(base, model, tmp_path, tmp_path / "parts", shard_bytes=100_000)
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], tensor) for name, tensor in parts.items())
    files = sorted((tmp_path / "parts").glob("*.safetensors"))
    assert len(files) > 3 and all(file.stat().st_size < 110_000 for file in files)
    index = json.loads((tmp_path / "parts" / INDEX).read_text())
    assert index["weight_map"].keys() == parts.keys() and set(index["weight_map"].values()) == {file.name for file in files}
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in parts.values())
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "parts").iterdir()} == {0o644}


def test_trained_token_rows_take_their_place_in_the_embedding(base: BaseFolder, tmp_path: Path) -> None:
    model = section(base.path)
    adapt(base, model, tmp_path, trainable_token_indices=[3, 17])
    ours = on_disk(base, model, tmp_path, tmp_path / "out")
    theirs = in_memory(base, model, tmp_path)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    moved = (ours["model.embed_tokens.weight"] != load_file(base.path / "model.safetensors")["model.embed_tokens.weight"]).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [3, 17]


def test_a_module_trained_whole_takes_the_place_of_the_base_s(small_base: SmallBase, tmp_path: Path) -> None:
    from transformers import Qwen2Config

    config = Qwen2Config(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=False,
    )
    untied = small_base(config)
    model = section(untied.path, family="none")
    adapt(untied, model, tmp_path, target_modules=["q_proj", "up_proj"], modules_to_save=["lm_head"])
    ours = on_disk(untied, model, tmp_path, tmp_path / "out")
    head = load_adapter(load_model(untied, model), tmp_path).merge_and_unload().lm_head.weight
    assert torch.equal(ours["lm_head.weight"], head)
    assert not torch.equal(head, load_file(untied.path / "model.safetensors")["lm_head.weight"])


def edit_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"peft_type": "LOHA"}, "a LOHA adapter can not be merged"),
        ({"init_lora_weights": "pissa"}, "starts from changed base weights"),
        ({"bias": "all"}, "an adapter with bias can not be merged"),
        ({"lora_bias": True}, "lora_bias"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"a_field_of_next_year": {"on": True}}, "a_field_of_next_year"),
        ({"r": 8}, "should have rank 8, found"),
        ({"use_dora": True}, "use_dora=True does not fit"),
    ],
)
def test_an_adapter_whose_effect_would_be_lost_is_refused(base: BaseFolder, tmp_path: Path, values: dict[str, Any], said: str) -> None:
    adapt(base, section(base.path), tmp_path)
    edit_config(tmp_path, **values)
    with pytest.raises(ExportError, match=said.replace("(", r"\(")):
        read_adapter(tmp_path)


def test_a_tensor_nobody_understands_is_an_error(base: BaseFolder, tmp_path: Path) -> None:
    adapt(base, section(base.path), tmp_path)
    save_file({**load_file(tmp_path / WEIGHTS), "base_model.model.model.norm.gate": torch.ones(3)}, tmp_path / WEIGHTS)
    with pytest.raises(ExportError, match=r"1 tensors of unknown meaning, the first is base_model.model.model.norm.gate"):
        read_adapter(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target_modules": ["lm_head", "q_proj"]}, "shares between input and output"),
        ({"use_dora": True}, "strength=0.5: .*model.layers.0.* is not a plain sum"),
    ],
)
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")  # that is the case to refuse
def test_a_merge_with_two_meanings_is_refused(base: BaseFolder, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    model = section(base.path)
    adapt(base, model, tmp_path, **options)
    with pytest.raises(ExportError, match=said):
        on_disk(base, model, tmp_path, tmp_path / "out", strength=0.5)


def test_an_adapter_of_another_shape_is_refused(base: BaseFolder, small_base: SmallBase, tmp_path: Path) -> None:
    from transformers import Starcoder2Config

    config = Starcoder2Config(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    other = small_base(config)
    adapt(base, section(base.path), tmp_path)
    with pytest.raises(ExportError, match="train again on this base"):
        on_disk(other, section(other.path, family="none"), tmp_path, tmp_path / "out")


def test_a_weight_beyond_the_number_format_is_refused(base: BaseFolder, tmp_path: Path) -> None:
    model = section(base.path)
    adapt(base, model, tmp_path, lora_alpha=1e8)
    with pytest.raises(ExportError, match="not finite in float16; write export.dtype=bfloat16"):
        on_disk(base, model, tmp_path, tmp_path / "out", dtype="float16")


def test_a_weight_that_no_number_format_holds_has_another_cure(base: BaseFolder, tmp_path: Path) -> None:
    model = section(base.path, dtype="bfloat16")
    adapt(base, model, tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    next(iter(weights.values()))[0, 0] = float("nan")
    save_file(weights, tmp_path / WEIGHTS)
    with pytest.raises(ExportError, match="not finite in bfloat16; copy the base again, or train the adapter again"):
        on_disk(base, model, tmp_path, tmp_path / "out", dtype="bfloat16")


def test_a_base_with_a_tensor_missing_is_refused(base: BaseFolder, tmp_path: Path, tiny_base: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_base, copy)
    tensors = load_file(copy / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExportError, match="model.norm.weight should be .*, found nothing"):
        BaseWeights(read_base(ModelSection(path=str(copy))), section(copy))
