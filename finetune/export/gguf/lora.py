"""A LoRA adapter as a GGUF file that llama.cpp adds to its base at load, at any strength.

Shapes: R rank, I inputs, O outputs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from finetune.errors import ExportError
from finetune.export.gguf import AdapterConversion
from finetune.export.gguf.converter import gguf, hyperparameters, model_class
from finetune.merge import Adapter, read_adapter
from finetune.merge.changes import LowRank

_INSTEAD = "write export=gguf, which merges it"


def convert_adapter(task: AdapterConversion) -> None:
    """Write `task.target`. Raises ExportError for an adapter that is more than sums of low rank on matrices llama.cpp keeps as they are."""
    from safetensors import safe_open

    module = gguf()
    adapter = read_adapter(task.adapter)
    changes = _low_ranks(adapter)
    names = _names(module, task.source, adapter)
    writer = module.GGUFWriter(task.target, module.MODEL_ARCH_NAMES[model_class(task.source).model_arch])
    writer.add_type(module.GGUFType.ADAPTER)
    writer.add_string(module.Keys.Adapter.TYPE, "lora")
    writer.add_name(task.name)
    with safe_open(adapter.weights, framework="np") as file:
        rank = file.get_slice(next(iter(changes.values())).a).get_shape()[0]
        alpha = next(iter(changes.values())).scale * task.strength * rank
        writer.add_float32(module.Keys.Adapter.LORA_ALPHA, alpha)
        for name, change in changes.items():
            a_RI, b_OR = file.get_tensor(change.a).astype("float32"), file.get_tensor(change.b).astype("float32")
            # llama.cpp scales every pair by alpha / its own rank: what differs from that goes into B
            b_OR *= change.scale * task.strength * len(a_RI) / alpha
            writer.add_tensor(f"{names[name]}.lora_a", a_RI)
            writer.add_tensor(f"{names[name]}.lora_b", b_OR)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    writer.close()


def _low_ranks(adapter: Adapter) -> dict[str, LowRank]:
    found = {
        name: change
        for name, change in adapter.changes.items()
        if isinstance(change, LowRank) and change.magnitude is None and change.values is None
    }
    others = sorted(adapter.changes.keys() - found.keys())
    if others:
        raise ExportError(
            f"{adapter.weights}: the change of {others[0]} is no plain sum of low rank, all a GGUF adapter can hold; {_INSTEAD}"
        )
    return found


def _names(module: Any, source: Path, adapter: Adapter) -> dict[str, str]:
    """The GGUF name of each changed tensor. Raises ExportError where the converter turns a matrix about: A and B would not follow."""
    import torch

    model = model_class(source)(source, module.LlamaFileType.ALL_F32, source / "unused.gguf", hparams=hyperparameters(source))
    names = {}
    for name in adapter.changes:
        block = re.search(r"\.(\d+)\.", name)
        probe = torch.empty((2, 2), device="meta")
        written = list(model.modify_tensors(probe, name, int(block[1]) if block else None))
        if len(written) != 1 or written[0][1] is not probe:
            raise ExportError(
                f"{name}: GGUF keeps this matrix otherwise than the model does, so an adapter can not stand beside it; {_INSTEAD}"
            )
        names[name] = written[0][0]
    return names
