"""Weights changed by peft's own layers, for methods whose change is more than a sum of products.

A layer is made of some outputs of one matrix, or of all of it, given the adapter's tensors, and told to merge: what the method does is
peft's business. Shapes: I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.errors import ExportError
from finetune.merge.reading import Stored

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Form:
    """What peft calls the tensors of a method, in a layer and `shared` by all layers, where each takes a corner of them.

    `by_rows`: outputs are changed apart from each other. `biased`: the change is one of the outputs, and meets their bias too.
    """

    own: tuple[str, ...]
    shared: tuple[str, ...] = ()
    by_rows: bool = False
    biased: bool = False


FORMS: Mapping[str, Form] = {
    "OFT": Form(("oft_R.weight",), by_rows=True),
    "HIRA": Form(("hira_A", "hira_B")),
    "MISS": Form(("miss_block",)),
    "ROAD": Form(("road_alpha", "road_theta"), biased=True),
    "VERA": Form(("vera_lambda_b", "vera_lambda_d"), shared=("vera_A", "vera_B")),
    "FOURIERFT": Form(("fourierft_spectrum",)),
    "GRALORA": Form(("gralora_A", "gralora_B")),
    "C3A": Form(("c3a_kernel",)),
    "DELORA": Form(("delora_A", "delora_B", "delora_lambda", "delora_w_norm")),
}


@dataclass(frozen=True, slots=True)
class Layered:
    """Do to a weight_OI, or a bias_O, what peft's layer of this configuration does; `keys`: the adapter's, by peft's names."""

    form: Form
    keys: Mapping[str, str]
    settings: Mapping[str, Any]


def merge_layer(change: Layered, weight: torch.Tensor, tensors: Mapping[str, Stored]) -> torch.Tensor:
    """The changed weight. Raises ExportError for tensors of other shapes than the layer's."""
    import torch
    from peft import PeftConfig, PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer

    weight_OI = weight.view(len(weight), -1)
    outputs, inputs = weight_OI.shape
    linear = torch.nn.Linear(inputs, outputs, bias=False, device=weight.device)
    linear.weight.data = weight_OI
    config = PeftConfig.from_peft_type(  # type: ignore[no-untyped-call]
        **{**change.settings, "target_modules": ["0"], "inference_mode": False, "task_type": None}
    )
    with torch.random.fork_rng(devices=[]):  # what a layer starts with is drawn, and then replaced
        model: Any = PeftModel(torch.nn.Sequential(linear), config)
    layer: Any = next(module for module in model.modules() if isinstance(module, BaseTunerLayer))
    held = dict(layer.named_parameters()) | dict(layer.named_buffers())
    for name, key in change.keys.items():
        first, _, rest = name.partition(".")
        place = held[f"{first}.default.{rest}".rstrip(".")]
        place.data = _fitting(tensors[key], place.shape, corner=name in change.form.shared).to(place)
    layer.merge()
    merged: torch.Tensor = layer.get_base_layer().get_parameter("weight").data
    return merged.view(weight.shape)


def _fitting(stored: Stored, shape: torch.Size, *, corner: bool) -> torch.Tensor:
    tensor = stored.read()
    if corner and all(mine >= asked for mine, asked in zip(tensor.shape, shape, strict=True)):
        tensor = tensor[tuple(slice(size) for size in shape)]
    if tensor.shape != shape:
        raise ExportError(
            f"{stored.file}: {stored.key} has the shape {stored.shape}, and the layer of the base asks for {tuple(shape)}; "
            "train again on this base"
        )
    return tensor
