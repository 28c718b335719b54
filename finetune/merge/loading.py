"""The base's weights some rows at a time: as they lie on disk, and as training saw them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from finetune.base import BaseFolder
from finetune.errors import ExportError
from finetune.merge.places import find_places
from finetune.merge.reading import Grown, Room, Stored
from finetune.merge.rounding import Rows, row_blocks, there_and_back_4bit
from finetune.model import on_cpu, quantization_config, read_config, weight_dtype
from finetune.quiet import quiet_libraries
from finetune.recipe import ModelSection

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class BaseWeights:
    """A base model's tensors by the names transformers gives them; memory holds a few rows of one at a time.

    `stored` leaves out tensors that are tied to another one (`tied`: name -> the one that is kept), and has the parts of a tensor that
    transformers puts together by the names in the files. `transposed` lie as inputs x outputs (GPT-2's Conv1D), `quantised` go
    through bitsandbytes.
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
        self.places = find_places(base, self._model, self.tied)
        self.stored: Mapping[str, Stored | Grown] = {**self.places.stored, **self.places.carried}
        self.grown = frozenset(name for name, place in self.stored.items() if isinstance(place, Grown))
        self.transposed = frozenset(f"{name}.weight" for name, module in self._model.named_modules() if isinstance(module, Conv1D))
        self._quantizer = _quantizer(self._model, section, self.dtype)
        self._four_bits = section.quantization == "nf4"
        self.quantised = frozenset(name for name in self.stored if self._is_quantised(name))

    def written_as(self, name: str) -> str:
        """What the merged files call a tensor: what the base's files do, for other readers know no other name."""
        key = self.stored[name].key
        return name if key in self.tied else key

    def shape(self, name: str) -> tuple[int, ...]:
        """Outputs first, however the tensor lies on disk."""
        shape = self.stored[name].shape
        return shape[::-1] if name in self.transposed else shape

    def blocks(self, name: str) -> Iterator[slice]:
        """The rows to ask for together; all of them on a GPU, which has its own memory, and its own way to cut matrices."""
        return row_blocks(self.shape(name), whole=self.device.type != "cpu")

    def as_stored(self, name: str, room: Room | None = None) -> Rows:
        """A reader of rows as they lie on disk, each time in `room` where it is given."""
        place = self.stored[name]
        if name in self.transposed:
            whole = place.read().T
            return lambda rows: whole[rows].to(self.device)
        return lambda rows: place.read(rows, room=room).to(self.device)

    def as_trained(self, name: str, room: Room | None = None) -> Rows:
        """A reader of rows as training saw them: in the recipe's number format, through bitsandbytes and back where it was quantised.

        On a GPU when there is one: the scales of double quantisation are means, whose last bit depends on the device that adds
        them up.
        """
        read = self.as_stored(name, room)
        if not self.stored[name].floating:
            return read
        if name not in self.quantised:
            return lambda rows: read(rows).to(self.dtype)
        if self._four_bits:
            like = self._model.get_parameter(name)
            return there_and_back_4bit(lambda rows: read(rows).to(self.dtype), [*self.blocks(name)], like=like)
        return lambda rows: self._there_and_back_int8(name, read(rows).to(self.dtype))

    def _is_quantised(self, name: str) -> bool:
        if self._quantizer is None or name in self.places.carried:
            return False
        return bool(self._quantizer.param_needs_quantization(self._model, name))

    def _there_and_back_int8(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        """Each row has a scale of its own. The very calls transformers makes at load, and bitsandbytes' own way back."""
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        lying = rows.T if name in self.transposed else rows  # the call turns a Conv1D's weight itself
        operation = self._quantizer.get_quantize_ops()
        quantised = operation.convert({name: [lying]}, full_layer_name=name, model=self._model)[name]
        weight: torch.Tensor = dequantize_bnb_weight(quantised, quantised)
        return weight


def _skeleton(base: BaseFolder, dtype: torch.dtype) -> PreTrainedModel:
    """The model without a single weight."""
    import torch
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    config = read_config(base)
    if getattr(config, "quantization_config", None) is not None:
        raise ExportError(
            f"{base.path}: the base on disk is quantised itself, and adding inside few bits rounds away most of what was learnt; "
            "write model.path of the full-precision model and train on that, or export=adapter"
        )
    with torch.device("meta"):
        model: PreTrainedModel = auto.from_config(config, dtype=dtype)
    return model


def _quantizer(model: PreTrainedModel, section: ModelSection, dtype: torch.dtype) -> Any:
    """transformers' own quantizer, with the skeleton's linear layers replaced by its rules; None for a base in full precision."""
    config = quantization_config(section, dtype)
    if config is None:
        return None
    from transformers.quantizers.auto import AutoHfQuantizer

    quantizer = AutoHfQuantizer.from_config(config, pre_quantized=False)
    quantizer.preprocess_model(model=model, device_map=None)
    return quantizer
