"""The base's weights one tensor at a time: as they lie on disk, and as training saw them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.base import BaseFolder, weight_files
from finetune.errors import ExportError
from finetune.model import on_cpu, quantization_config, read_config, weight_dtype
from finetune.quiet import quiet_libraries
from finetune.recipe import ModelSection

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one tensor lies; `dtype` as safetensors writes it: F32, BF16, I64."""

    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)

    @property
    def floating(self) -> bool:
        return self.dtype.startswith(("F", "BF"))

    @property
    def width(self) -> int:
        """Bytes of one number."""
        return int("".join(filter(str.isdigit, self.dtype)) or "8") // 8


class BaseWeights:
    """A base model's tensors by the names transformers gives them; memory holds one at a time.

    `stored` leaves out tensors that are tied to another one (`tied`: name -> the one that is kept). `transposed` lie as inputs x
    outputs (GPT-2's Conv1D), `quantised` go through bitsandbytes.
    """

    def __init__(self, base: BaseFolder, section: ModelSection) -> None:
        quiet_libraries()
        import torch
        from transformers.pytorch_utils import Conv1D

        self.device = torch.device("cpu" if on_cpu() else "cuda")
        self.dtype = weight_dtype(section)
        self._model = _skeleton(base, self.dtype)
        self.tied: Mapping[str, str] = dict(self._model.all_tied_weights_keys)
        self.architecture = type(self._model).__name__
        self.stored, self.ignored = _find(base, self._model, self.tied)
        self.transposed = frozenset(f"{name}.weight" for name, module in self._model.named_modules() if isinstance(module, Conv1D))
        self._quantizer = _quantizer(self._model, section, self.dtype)
        self.quantised = frozenset(name for name in self.stored if self._is_quantised(name))

    def read(self, name: str) -> torch.Tensor:
        """A tensor as it lies on disk."""
        from safetensors import safe_open

        place = self.stored[name]
        with safe_open(place.file, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(place.key)
        return tensor

    def as_trained(self, name: str) -> torch.Tensor:
        """A tensor as training saw it: in the recipe's number format, through bitsandbytes and back where it was quantised.

        The very calls transformers makes at load, and bitsandbytes' own way back. On a GPU when there is one: the scales of
        double quantisation are means, whose last bit depends on the device that adds them up.
        """
        tensor = self.read(name).to(self.device)
        if not tensor.is_floating_point():
            return tensor
        tensor = tensor.to(self.dtype)
        return self._there_and_back(name, tensor) if name in self.quantised else tensor

    def _is_quantised(self, name: str) -> bool:
        return self._quantizer is not None and bool(self._quantizer.param_needs_quantization(self._model, name))

    def _there_and_back(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        operation = self._quantizer.get_quantize_ops()
        quantised = operation.convert({name: [tensor]}, full_layer_name=name, model=self._model)[name]
        weight: torch.Tensor = dequantize_bnb_weight(quantised, quantised)
        module: Any = self._model.get_submodule(name.removesuffix(".weight"))
        module.quant_state = None  # bitsandbytes leaves the scales at the module: they would pile up
        return weight.T if name in self.transposed else weight


def _skeleton(base: BaseFolder, dtype: torch.dtype) -> PreTrainedModel:
    """The model without a single weight."""
    import torch
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    config = read_config(base)
    if getattr(config, "quantization_config", None) is not None:
        raise ExportError(
            f"{base.path}: the base on disk is quantised itself; write model.path of the full-precision model and train on that"
        )
    with torch.device("meta"):
        model: PreTrainedModel = auto.from_config(config, dtype=dtype)
    return model


def _find(base: BaseFolder, model: PreTrainedModel, tied: Mapping[str, str]) -> tuple[dict[str, Stored], tuple[str, ...]]:
    """Every tensor the model needs with its place on disk, and what else the files hold and the model has no use for."""
    from safetensors import safe_open

    needed = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}
    found: dict[str, Stored] = {}
    ignored: list[str] = []
    for path in weight_files(base.path):
        with safe_open(path, framework="pt") as file:
            keys = sorted(file.keys())
            for key in keys:
                name = key if key in needed else f"{model.base_model_prefix}.{key}"
                if name in needed:
                    part = file.get_slice(key)
                    found[name] = Stored(path, key, tuple(part.get_shape()), part.get_dtype())
                else:
                    ignored.append(key)
    wrong = [name for name, shape in needed.items() if name not in found or found[name].shape != shape]
    if wrong:
        what = f"shape {found[wrong[0]].shape}" if wrong[0] in found else "nothing"
        raise ExportError(
            f"{base.path}: {wrong[0]} should be {needed[wrong[0]]}, found {what} ({len(wrong)} such tensors); "
            "the files do not hold this architecture's tensors under their current names; write export=adapter"
        )
    return {name: found[name] for name in needed}, tuple(key for key in ignored if key not in tied)


def _quantizer(model: PreTrainedModel, section: ModelSection, dtype: torch.dtype) -> Any:
    """transformers' own quantizer, with the skeleton's linear layers replaced by its rules; None for a base in full precision."""
    config = quantization_config(section, dtype)
    if config is None:
        return None
    from transformers.quantizers.auto import AutoHfQuantizer

    quantizer = AutoHfQuantizer.from_config(config, pre_quantized=False)
    quantizer.preprocess_model(model=model, device_map=None)
    return quantizer
