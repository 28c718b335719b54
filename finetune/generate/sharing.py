"""How the rows of one batch come under different adapters: for one forward pass, in the way that costs the least.

peft's own way (`adapter_names`) walks the model and hooks each layer anew in every pass, then gathers and scatters rows: on a small
model two fifths of a pass. Rows of one adapter stand together here, so that a layer adds its update to a slice.

Shapes: x is B x T x I inputs of a layer, y its B x T x O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from finetune.generate.few_rows import swapped

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from finetune.methods.tuners.layer import OwnLayer

BASE_ADAPTER = "__base__"  # peft's name for a row without an adapter
_BATCH_TOKENS_WIDTH = 3  # dimensions

# Within the block the model's rows are under their adapters; what it gives is to be added to the model's inputs.
Under = Callable[[], AbstractContextManager[Mapping[str, object]]]
# For the adapter of each row, rows of one adapter beside each other.
Sharing = Callable[[Sequence[str]], Under]


class Stretch(NamedTuple):
    """Rows `start` to before `end` of a batch, all under one adapter."""

    name: str
    start: int
    end: int


def stretches(rows: Sequence[str]) -> list[Stretch]:
    """Neighbours under one adapter, together."""
    found, start = [], 0
    for name, group in groupby(rows):
        end = start + len([*group])
        found.append(Stretch(name, start, end))
        start = end
    return found


def sharing_of(model: Any, modules: Sequence[Module], adapters: Sequence[str]) -> Sharing:
    """The cheapest way that is right for the base and these adapters of the model; others that it has are never on a row."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    from finetune.methods.tuners.layer import OwnLayer

    layers = [module for module in modules if isinstance(module, BaseTunerLayer)]
    if not layers:
        return lambda _: lambda: nullcontext({})
    own = [module for module in modules if isinstance(module, OwnLayer)]
    if len(own) == len(layers):
        return lambda rows: lambda: _told(own, rows)
    if not _has_copies(modules) and all(_is_plain(layer, adapters) for layer in layers):
        return lambda rows: _swapped(layers, rows)
    return lambda rows: lambda: nullcontext({"adapter_names": [*rows]})


@contextmanager
def _told(layers: Sequence[OwnLayer], rows: Sequence[str]) -> Iterator[Mapping[str, object]]:
    """Our own layers take the rows' adapters themselves."""
    for layer in layers:
        layer.rows = rows
    try:
        yield {}
    finally:
        for layer in layers:
            layer.rows = None


def _has_copies(modules: Sequence[Module]) -> bool:
    """Whether an adapter brings whole layers of its own (peft's `modules_to_save`)."""
    from peft.utils.other import AuxiliaryTrainingWrapper

    return any(isinstance(module, AuxiliaryTrainingWrapper) for module in modules)


def _is_plain(layer: Any, adapters: Sequence[str]) -> bool:
    """Whether the layer adds B A x * scaling and nothing else, in each of these adapters that it has."""
    from peft.tuners.lora.bnb import Linear4bit, Linear8bitLt
    from peft.tuners.lora.layer import Linear

    if type(layer) not in (Linear, Linear4bit, Linear8bitLt) or "forward" in vars(layer) or layer.merged:
        return False
    return not any(name in layer.lora_variant or layer.lora_bias[name] for name in adapters if name in layer.lora_A)


@dataclass(frozen=True, slots=True)
class _Update:
    """What an adapter adds to the outputs of a stretch of rows: y += x A B * scaling. `down` (A) is I x R, `up` (B) R x O."""

    start: int
    end: int
    down: Tensor
    up: Tensor
    scaling: float

    def add_to(self, y: Tensor, x: Tensor) -> None:
        x = self._of(x)
        inner = (x if x.dtype == self.down.dtype else x.to(self.down.dtype)).mm(self.down)
        if inner.dtype == y.dtype == self.up.dtype and y.is_contiguous():
            self._of(y).addmm_(inner, self.up, alpha=self.scaling)
        else:
            part = y[self.start : self.end]
            part += (inner.mm(self.up) * self.scaling).to(y.dtype).view(part.shape)

    def _of(self, z: Tensor) -> Tensor:
        """The stretch alone, a token a line. At each token of an answer each layer comes here: as few calls of torch as may be."""
        if self.end - self.start == 1 and z.dim() == _BATCH_TOKENS_WIDTH:
            return z[self.start]
        return z[self.start : self.end].flatten(0, -2)


def _swapped(layers: Sequence[Any], rows: Sequence[str]) -> Under:
    """LoRA's layers compute by stretches: `forward` of each is another one within the block."""
    parts = stretches(rows)
    forwards = [(vars(layer), _forward(layer, parts, len(rows))) for layer in layers]

    @contextmanager
    def under() -> Iterator[Mapping[str, object]]:
        with swapped(forwards):
            yield {}

    return under


def _forward(layer: Any, parts: Sequence[Stretch], rows: int) -> Callable[..., Tensor]:
    base: Callable[..., Tensor] = layer.base_layer
    updates = [
        _Update(part.start, part.end, layer.lora_A[part.name].weight.t(), layer.lora_B[part.name].weight.t(), layer.scaling[part.name])
        for part in parts
        if part.name in layer.lora_A
    ]
    if not updates:
        return base

    def forward(x: Tensor, *more: Any, **named: Any) -> Tensor:
        assert x.shape[0] == rows, "the first dimension of a layer's input is the batch"
        y = base(x, *more, **named)
        for update in updates:
            update.add_to(y, x)
        return y

    return forward
