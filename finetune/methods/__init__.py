"""Training methods: ways to attach a small trainable part to a frozen base, and to save and load it.

A method is one class: fields are its options, `config` gives peft's configuration. Tuners that peft lacks are in `tuners`.
"""

from finetune.methods.full import Full
from finetune.methods.layers import Coverage, coverage, linear_layers, match_targets
from finetune.methods.low_rank import AdaLora, Lora
from finetune.methods.method import METHODS, Method
from finetune.methods.of_peft import OfPeft
from finetune.methods.placed import AdapterH, AdapterP, Ia3, LnTuning, Oft, Parallel
from finetune.methods.prompts import Prefix, Prompt, PTuning
from finetune.methods.storage import (
    BASE,
    CONFIG,
    WEIGHTS,
    adapter_type,
    check_adapter_base,
    check_adapter_files,
    load_adapter,
    save_adapter,
    seal_adapter,
)

__all__ = [
    "BASE",
    "CONFIG",
    "METHODS",
    "WEIGHTS",
    "AdaLora",
    "AdapterH",
    "AdapterP",
    "Coverage",
    "Full",
    "Ia3",
    "LnTuning",
    "Lora",
    "Method",
    "OfPeft",
    "Oft",
    "PTuning",
    "Parallel",
    "Prefix",
    "Prompt",
    "adapter_type",
    "check_adapter_base",
    "check_adapter_files",
    "coverage",
    "linear_layers",
    "load_adapter",
    "match_targets",
    "save_adapter",
    "seal_adapter",
]
