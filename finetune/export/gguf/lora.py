"""A LoRA adapter as a GGUF file that llama.cpp adds to its base at load, at any strength.

Shapes: R rank, I inputs, O outputs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from finetune.errors import ExportError
from finetune.export.gguf import AdapterConversion
from finetune.export.gguf.converter import gguf, hyperparameters, model_class
from finetune.merge import Adapter, read_adapter
from finetune.merge.changes import LowRank

if TYPE_CHECKING:
    import numpy as np

_INSTEAD = "write export=gguf, which merges it"


class _Place(NamedTuple):
    """A matrix's name in GGUF, and which of the model's rows stands in each of its own."""

    name: str
    order_O: np.ndarray


def convert_adapter(task: AdapterConversion) -> None:
    """Write `task.target`. Raises ExportError for an adapter that is more than sums of low rank on matrices llama.cpp keeps as they are."""
    import numpy as np
    from safetensors import safe_open

    module = gguf()
    adapter = read_adapter(task.adapter)
    changes = _low_ranks(adapter)
    places = _places(module, task.source, _outputs(adapter, changes))
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
            place = places[name]
            writer.add_tensor(f"{place.name}.lora_a", a_RI)
            writer.add_tensor(f"{place.name}.lora_b", np.ascontiguousarray(b_OR[place.order_O]))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    writer.close()


def _outputs(adapter: Adapter, changes: Mapping[str, LowRank]) -> dict[str, int]:
    from safetensors import safe_open

    with safe_open(adapter.weights, framework="np") as file:
        return {name: file.get_slice(change.b).get_shape()[0] for name, change in changes.items()}


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


def _places(module: Any, source: Path, outputs: Mapping[str, int]) -> dict[str, _Place]:
    """Where each changed tensor of so many outputs stands in GGUF. The converter may put its rows in another order (queries and keys of
    Llama), and so B's. Raises ExportError where it does more to them."""
    model = model_class(source)(source, module.LlamaFileType.ALL_F32, source / "unused.gguf", hparams=hyperparameters(source))
    places = {}
    for name, rows in outputs.items():
        block = re.search(r"\.(\d+)\.", name)
        place = _place(model, name, rows, block=int(block[1]) if block else None)
        if place is None:
            raise ExportError(
                f"{name}: GGUF keeps this matrix otherwise than the model does, so an adapter can not stand beside it; {_INSTEAD}"
            )
        places[name] = place
    return places


def _place(model: Any, name: str, rows: int, *, block: int | None) -> _Place | None:
    """Found by what the converter makes of a matrix that says where each number was; None where it is not rows in some order."""
    import torch

    probe_O2 = torch.arange(2 * rows, dtype=torch.float64).reshape(rows, 2)
    try:
        written = list(model.modify_tensors(probe_O2, name, block))
    except (RuntimeError, ValueError):
        return None  # it looks at columns, and there are two
    if len(written) != 1 or written[0][1].shape != probe_O2.shape:
        return None
    order_O = (written[0][1][:, 0] / 2).long()
    same = bool(torch.equal(order_O.sort().values, torch.arange(rows))) and torch.equal(written[0][1], probe_O2[order_O])
    return _Place(written[0][0], order_O.numpy()) if same else None
