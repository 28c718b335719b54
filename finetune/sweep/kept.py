"""A base model that is read once and given to run after run."""

from __future__ import annotations

import copy
import gc
from typing import TYPE_CHECKING, NamedTuple

from finetune.base import BaseFolder
from finetune.model import load_model
from finetune.recipe import ModelSection

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

_MOVES_ITS_WEIGHTS = "int8"  # bitsandbytes takes the 8-bit weights out of their parameter at the first pass


class _Kept(NamedTuple):
    key: tuple[str, str]
    model: PreTrainedModel
    prints: list[tuple[int, int]]
    trained: list[bool]


class KeptBase:
    """Loads as `load_model` does; of one base, loaded in one way, the weights lie in memory once.

    Each model given out has modules, buffers, vectors and configuration of its own, so nothing an adapter does to them outlives it;
    the matrices are shared. All methods leave those alone (`full` trains copies); should one write into them all the same, torch's
    own count of writes tells, and the base is read anew.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None
        self.loads = 0

    def __call__(self, base: BaseFolder, section: ModelSection) -> PreTrainedModel:
        key = (base.digest, section.model_dump_json())
        if self._kept is not None and (self._kept.key != key or _prints(self._kept.model) != self._kept.prints):
            self._kept = None
        gc.collect()  # the model of the run before holds itself in circles
        if self._kept is None:
            self.loads += 1
            model = load_model(base, section)
            if section.quantization == _MOVES_ITS_WEIGHTS:
                return model
            self._kept = _Kept(key, model, _prints(model), [weight.requires_grad for weight in model.parameters()])
        return _copy(self._kept)


def _copy(kept: _Kept) -> PreTrainedModel:
    for weight, trained in zip(kept.model.parameters(), kept.trained, strict=True):
        weight.requires_grad_(trained)
        weight.grad = None
    return copy.deepcopy(kept.model, {id(weight): weight for weight in _matrices(kept.model)})


def _prints(model: PreTrainedModel) -> list[tuple[int, int]]:
    """What changes when a weight is written into, or moved."""
    return [(weight._version, weight.data_ptr()) for weight in _matrices(model)]


def _matrices(model: PreTrainedModel) -> list[Tensor]:
    """What takes the room; 4-bit layers put their vectors, the biases, into the number format of whatever comes by."""
    return [weight for weight in model.parameters() if weight.dim() > 1]
