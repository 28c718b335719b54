"""Where each method goes and how many numbers it trains, on the shapes of published models, without a single weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPTBigCodeConfig, PreTrainedModel, Qwen2Config, Starcoder2Config

from finetune.errors import ModelError
from finetune.families import FAMILIES, plain_family
from finetune.methods import METHODS, AdapterH, AdapterP, Coverage, Full, Ia3, Lora, Method, Parallel, PTuning, coverage

FAMILY = {family.name: family for family in FAMILIES}
# StarCoderBase: width, layers, and all its numbers (learnt positions of 8,192, tied head)
STARCODERBASE = {"1B": (2048, 24), "3B": (2816, 36), "7B": (4096, 42), "15.5B": (6144, 40)}
HEAD = 128  # numbers of one attention head; multi-query: one head of keys, one of values
ASTRAIOS = {"lora": Lora(), "ia3": Ia3(), "p_tuning": PTuning(), "adapter_h": AdapterH(), "adapter_p": AdapterP(), "parallel": Parallel()}
# Millions of trained numbers and their share of all in percent, of the 28 models of Astraios (arXiv 2401.00788)
PUBLISHED = {
    "lora": {"1B": (3.59, 0.315), "3B": (7.37, 0.242), "7B": (12.47, 0.170), "15.5B": (17.78, 0.114)},
    "ia3": {"1B": (0.25, 0.022), "3B": (0.52, 0.017), "7B": (0.87, 0.012), "15.5B": (1.24, 0.008)},
    "p_tuning": {"1B": (12.65, 1.100), "3B": (23.88, 0.779), "7B": (50.5, 0.684), "15.5B": (113.5, 0.726)},
    "adapter_h": {"1B": (50.3, 4.24), "3B": (103.8, 3.30), "7B": (176.2, 2.35), "15.5B": (251.7, 1.60)},
    "adapter_p": {"1B": (25.2, 2.17), "3B": (51.9, 1.68), "7B": (88.1, 1.19), "15.5B": (125.8, 0.80)},
    "parallel": {"1B": (26.7, 2.30), "3B": (54.3, 1.75), "7B": (90.8, 1.22), "15.5B": (128.5, 0.82)},
}


def closed_form(kind: str, width: int, layers: int) -> int:
    """What one block trains, by hand: attention makes width + 2 heads of numbers, the feed-forward is four times as wide."""
    attention, wide, r, size = width + 2 * HEAD, 4 * width, 8, 256
    each = {
        "lora": r * ((width + attention) + (width + width) + (wide + width)),  # c_attn, attn.c_proj, mlp.c_proj
        "ia3": attention + wide,
        "adapter_h": 2 * size * (width + width),
        "adapter_p": 2 * size * width,
        "parallel": size * (width + attention),
    }
    return 30 * width + 3 * (width * width + width) if kind == "p_tuning" else layers * each[kind]


def starcoderbase(size: str) -> PreTrainedModel:
    width, layers = STARCODERBASE[size]
    shape = {"n_embd": width, "n_layer": layers, "n_head": width // HEAD, "n_inner": 4 * width, "n_positions": 8192}
    return on_meta(GPTBigCodeConfig(vocab_size=49152, multi_query=True, bos_token_id=0, eos_token_id=0, **shape))


def on_meta(config: Any) -> PreTrainedModel:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def covered(method: Method, model: PreTrainedModel, family: str) -> Coverage:
    with torch.device("meta"):
        return coverage(method(model, FAMILY[family]))


@pytest.mark.parametrize("size", STARCODERBASE)
@pytest.mark.parametrize("kind", ASTRAIOS)
def test_astraios_counts_on_starcoderbase(kind: str, size: str) -> None:
    width, layers = STARCODERBASE[size]
    found = covered(ASTRAIOS[kind], starcoderbase(size), "starcoder")
    assert found.trainable == closed_form(kind, width, layers)
    millions, percent = PUBLISHED[kind][size]
    assert found.trainable / 1e6 == pytest.approx(millions, abs=0.06 if millions > 20 else 0.006)
    assert 100 * found.trainable / found.total == pytest.approx(percent, abs=0.0006 if kind in ("lora", "ia3", "p_tuning") else 0.006)


def test_full_fine_tuning_of_starcoderbase_trains_all_of_it() -> None:
    found = covered(Full(), starcoderbase("1B"), "starcoder")
    assert found.trainable == found.total == 1_137_207_296
    assert found.share == 1.0


STARCODER2_3B = Starcoder2Config(
    vocab_size=49152,
    hidden_size=3072,
    num_hidden_layers=30,
    num_attention_heads=24,
    num_key_value_heads=2,
    intermediate_size=12288,
    bos_token_id=0,
    eos_token_id=0,
)


@pytest.mark.parametrize(
    ("method", "trained"),
    [
        (Lora(), 11_919_360),
        (Ia3(), 30 * (3072 + 2 * 256 + 12288)),
        (AdapterH(), 30 * 2 * 256 * (3072 + 3072)),
        (AdapterP(), 30 * 2 * 256 * 3072),
        (Parallel(), 30 * 256 * (3 * 3072 + 3072 + 2 * 256)),
    ],
    ids=lambda value: value.kind if isinstance(value, Method) else "",
)
def test_counts_on_starcoder2_3b(method: Method, trained: int) -> None:
    assert covered(method, on_meta(STARCODER2_3B), "starcoder2").trainable == trained


def test_places_on_qwen_are_those_of_its_gated_feed_forward() -> None:
    shape = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    with torch.device("meta"):
        model = AdapterH()(on_meta(Qwen2Config(vocab_size=320, **shape)), FAMILY["qwen2.5-coder"])
    config = model.peft_config["default"]
    assert (config.before, config.after) == (["gate_proj", "up_proj"], ["down_proj"])


@pytest.mark.parametrize(
    ("method", "option"),
    [
        (AdapterH(before=("fc1",)), "before"),
        (AdapterP(targets=("fc2",)), "targets"),
        (Parallel(targets=("qkv",)), "targets"),
        (Ia3(inputs=("fc2",)), "inputs"),
    ],
)
def test_a_place_that_the_model_lacks_is_named(method: Method, option: str) -> None:
    with pytest.raises(
        ModelError, match=rf"adapter\.{option}: this starcoder2 model has no linear layer called '\w+'; its blocks have c_fc"
    ):
        method(on_meta(STARCODER2_3B), FAMILY["starcoder2"])


@pytest.mark.parametrize("option", ["c3a block_size", "road group_size"])
def test_a_size_that_does_not_divide_those_of_the_layers_is_named(option: str) -> None:
    kind, name = option.split()
    with pytest.raises(ModelError, match=rf"adapter={kind}: .+; write another option, or adapter=lora"):
        METHODS[kind].model_validate({name: 48})(on_meta(STARCODER2_3B), FAMILY["starcoder2"])


def test_blocks_that_do_not_fill_a_layers_inputs_are_named_with_a_size_that_does() -> None:
    """peft would warn, turn blocks of 32 and save 48."""
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    said = r"adapter\.block_size: 48 does not divide the 64 inputs of model\.layers\.0\.self_attn\.q_proj; .*adapter\.block_size=16$"
    with pytest.raises(ModelError, match=said):
        METHODS["oft"].model_validate({"block_size": 48})(on_meta(Starcoder2Config(vocab_size=320, **shape)), FAMILY["starcoder2"])
    with torch.device("meta"):
        sound = METHODS["oft"].model_validate({"block_size": 16})
        adapted = sound(on_meta(Starcoder2Config(vocab_size=320, **shape)), FAMILY["starcoder2"])
    assert {config.oft_block_size for config in adapted.peft_config.values()} == {16}


def test_a_method_that_knows_no_transposed_weights_is_refused_on_them() -> None:
    shape = {"n_embd": 64, "n_layer": 1, "n_head": 4, "n_inner": 128, "vocab_size": 320, "bos_token_id": 0, "eos_token_id": 0}
    with pytest.raises(ModelError, match=r"adapter=hira: this gpt2 model keeps its weights as inputs x outputs; write adapter=lora"):
        METHODS["hira"]()(on_meta(GPT2Config(**shape)), plain_family("<|endoftext|>"))


def test_a_family_without_places_asks_for_them() -> None:
    with pytest.raises(
        ModelError, match=r"adapter\.targets: found none, and family none has no placement of its own; write adapter\.targets="
    ):
        AdapterP()(on_meta(STARCODER2_3B), plain_family("<|endoftext|>"))
    with torch.device("meta"):
        AdapterP(targets=("c_proj",))(on_meta(STARCODER2_3B), plain_family("<|endoftext|>"))


SMALL = ("group_size", "block_size")  # what must divide the sizes of a layer


@pytest.mark.parametrize("kind", [kind for kind, method in METHODS if not method.refused])
def test_every_method_fits_every_family(kind: str) -> None:
    tiny = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    ids = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 0}
    configs = {
        "starcoder2": Starcoder2Config(**tiny, **ids),
        "starcoder": GPTBigCodeConfig(n_embd=64, n_layer=1, n_head=4, n_inner=256, **ids),
        "santacoder": GPTBigCodeConfig(n_embd=64, n_layer=1, n_head=4, n_inner=256, **ids),
        "qwen2.5-coder": Qwen2Config(**tiny, **ids),
    }
    for family, config in configs.items():
        torch.manual_seed(0)
        method = METHODS[kind].model_validate({name: 32 for name in SMALL if name in METHODS[kind].model_fields})
        model = method(AutoModelForCausalLM.from_config(config), FAMILY[family])
        model.train()(input_ids=torch.arange(12)[None], labels=torch.arange(12)[None]).loss.backward()
        learns = [weight for weight in model.parameters() if weight.requires_grad]
        assert learns and all(weight.grad is not None for weight in learns), family
