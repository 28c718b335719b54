"""The base model and its tokenizer, loaded from files on this machine and checked.

Trap numbers (T4, T8) are those of docs/traps.md.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from finetune.base import BaseFolder
from finetune.errors import ModelError
from finetune.families import describe_tokenizer
from finetune.new_tokens import grow
from finetune.quiet import import_models, quiet_libraries
from finetune.recipe import ModelSection

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Load: TypeAlias = "Callable[[BaseFolder, ModelSection], PreTrainedModel]"


def load_tokenizer(base: BaseFolder) -> PreTrainedTokenizerFast:
    """The tokenizer that tokenizer.json describes, and no other.

    AutoTokenizer picks a class by model type and may drop a pre-tokeniser step: other ids, without a word (T8).
    """
    quiet_libraries()
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    family = base.family
    asked = describe_tokenizer(base.tokenizer, family)
    described = Tokenizer.from_str(json.dumps(asked))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=described, eos_token=family.end, bos_token=family.opening or family.end, pad_token=family.pad
    )
    loaded = json.loads(tokenizer.backend_tokenizer.to_str())
    for part in ("pre_tokenizer", "normalizer", "model"):
        if loaded[part] != asked[part]:
            raise ModelError(
                f"{base.tokenizer}: the installed tokenizers library reads its {part} as {_short(loaded[part])}, "
                f"the file says {_short(asked[part])}; ids would differ. Install the tokenizers version of constraints.txt"
            )
    return tokenizer


def read_config(base: BaseFolder) -> Any:
    """The model's configuration, with the recipe's tokens counted.

    Raises ModelError for an architecture that the installed transformers does not know.
    """
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(base.path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{base.path}/config.json: no model can be made of it ({_short(error)}); write model.path of another base"
        ) from error
    config.vocab_size = base.vocabulary_size
    return config


def without_dropout(config: Any) -> Any:
    """The configuration with no dropout in the base's own layers (docs/decisions/004-dropout-of-the-base.md)."""
    for name, value in config.to_dict().items():
        if isinstance(value, float) and re.search("dropout|pdrop", name):
            setattr(config, name, 0.0)
    return config


def attention_kernel(config: Any) -> str:
    """torch's own attention, or the architecture's written-out one where it has no other (Gemma 2, CodeGen, Bloom)."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kinds: Any = MODEL_FOR_CAUSAL_LM_MAPPING
    return "sdpa" if getattr(kinds.get(type(config), None), "_supports_sdpa", False) else "eager"


def load_model(base: BaseFolder, section: ModelSection) -> PreTrainedModel:
    """The base model with its weights, on the GPU if there is one, quantised as the recipe says; rows for added tokens are new.

    Dropout is off (eval mode). Raises ModelError for weights that are missing, broken or of another shape.
    """
    import_models()
    quiet_libraries()
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    dtype = weight_dtype(section)
    config = without_dropout(read_config(base))
    config.vocab_size = base.embedded  # rows for the recipe's tokens are new, and come after
    try:
        model, found = loader.from_pretrained(
            base.path,
            config=config,
            local_files_only=True,
            dtype=dtype,
            quantization_config=quantization_config(section, dtype),
            device_map=_placement(section),
            attn_implementation=attention_kernel(config),
            output_loading_info=True,
        )
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"{base.path}: the weights can not be loaded ({_short(error)}); copy the model folder again") from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise ModelError(
            f"{base.path}: {len(missing)} tensors are not in its *.safetensors, the first is {missing[0]}; "
            "copy every file of the model folder (a sharded model has several)"
        )
    _check_size(model, base)
    grow(model, base)
    guard_4bit(model)
    model.eval()
    loaded: PreTrainedModel = model
    return loaded


def on_cpu() -> bool:
    """Whether this process computes on the CPU: no GPU is there, or the launcher says so."""
    import torch

    return not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU") == "true"


def weight_dtype(section: ModelSection) -> torch.dtype:
    """The number format of the weights that are not quantised."""
    import torch

    if section.dtype == "auto":
        return torch.float32 if on_cpu() else _half_of_gpu()
    dtype: torch.dtype = getattr(torch, section.dtype)
    return dtype


def autocast_dtype(section: ModelSection) -> torch.dtype | None:
    """The number format of a training step's multiplications; None: that of the weights.

    "auto" takes bfloat16 where the hardware multiplies it faster than float32.
    """
    import torch

    match section.dtype, on_cpu():
        case "auto", True:
            return torch.bfloat16 if faster_in_bfloat16(torch.cpu.get_capabilities()) else None
        case "auto", False:
            return _half_of_gpu()
        case ("float32", _) | ("float16", True):
            return None
        case _:
            return weight_dtype(section)


def faster_in_bfloat16(able: Mapping[str, object]) -> bool:
    """Whether a CPU of these capabilities multiplies bfloat16 faster than float32.

    One with AMX does. Of machines with avx512_bf16 alone one gave 145 GFLOP/s a core in bfloat16 and 48 in float32; one of Intel gave 80
    and 130, the rate of its instruction set (docs/benchmarks/training.md).
    """
    return bool(able.get("amx_bf16") or (able.get("avx512_bf16") and not str(able.get("cpu_name", "")).startswith("Intel")))


def _half_of_gpu() -> torch.dtype:
    """bfloat16, or float16 on a GPU that would only imitate it."""
    import torch

    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def guard_4bit(model: torch.nn.Module) -> None:
    """Keep 4-bit weights as they are in every forward pass.

    On a CPU with avx512_bf16, bitsandbytes repacks each 4-bit layer in place at the first pass without gradients:
    a later training step then learns nothing or dies, and a merge gives garbage (T4).
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def quantization_config(section: ModelSection, dtype: torch.dtype) -> Any:
    """What transformers is told about quantisation, None for none; a merge repeats it tensor by tensor.

    `dtype`: the format of weights that are not quantised. 4-bit layers compute in the format of the pass they stand in.
    """
    if section.quantization == "none":
        return None
    import torch
    from transformers import BitsAndBytesConfig

    if section.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=section.double_quant,
        bnb_4bit_compute_dtype=(autocast_dtype(section) or dtype) if dtype == torch.float32 else dtype,
        bnb_4bit_quant_storage=torch.uint8,
    )


def _placement(section: ModelSection) -> dict[str, str | int] | None:
    """Where the weights go: this process's GPU, or main memory when a launcher shards the model itself."""
    sharded = any(os.environ.get(f"ACCELERATE_USE_{name}") == "true" for name in ("FSDP", "DEEPSPEED"))
    if sharded and section.quantization == "none":
        return None
    return {"": "cpu" if on_cpu() else int(os.environ.get("LOCAL_RANK", "0"))}


def _check_size(model: PreTrainedModel, base: BaseFolder) -> None:
    """The embedding must hold every id that the tokenizer can give (read_base compared the tokenizer with config.json)."""
    embedding = model.get_input_embeddings().get_parameter("weight")
    rows = embedding.shape[0]
    if rows < base.embedded:
        raise ModelError(
            f"{base.path}: config.json says {base.embedded} tokens but the weights embed {rows}; "
            "copy config.json and the weights of one model"
        )


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) < 200 else f"{text[:200]} ..."
