"""What can be done to one tensor of the base, some of its rows at a time.

Shapes: R rank, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from finetune.errors import ExportError
from finetune.merge.layered import Layered, merge_layer
from finetune.merge.reading import Stored

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class LowRank:
    """Add scale x B_OR @ A_RI; with values_R1 A's rows are scaled by them (AdaLoRA); with a magnitude_O every output's row is brought
    to that length after (DoRA)."""

    a: str
    b: str
    scale: float
    magnitude: str | None = None
    values: str | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Put other rows at these indices of an embedding."""

    key: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """Put another tensor in its place; `everywhere`: it was learnt at every layer that shares the tensor."""

    key: str
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Scaled:
    """Multiply each output, or each input, by a number: the tensor is O1 or 1I ((IA)^3)."""

    key: str


@dataclass(frozen=True, slots=True)
class ScaledBias:
    """Multiply the bias_O by O1; nothing where the layer has no bias."""

    key: str


Change = LowRank | Rows | Whole | Scaled | ScaledBias | Layered


class Place(NamedTuple):
    """Some rows of a tensor of this shape, outputs first; `transposed`: it lies on disk the other way round."""

    rows: slice
    shape: tuple[int, ...]
    transposed: bool = False


def apply(change: Change, weight: torch.Tensor, *, tensors: Mapping[str, Stored], at: Place, strength: float) -> torch.Tensor:
    """The changed rows. `weight` holds those that stand `at`, is float32 and may be written over; `tensors` are the adapter's."""
    rows, shape, transposed = at
    match change:
        case LowRank():
            fitting(change, tensors, shape)
            return _add_low_rank(change, weight, tensors=tensors, rows=rows, strength=strength)
        case Rows():
            _require(tensors[change.key].shape == (len(change.indices), *shape[1:]), tensors[change.key], shape)
            inside = [(index, row) for index, row in enumerate(change.indices) if rows.start <= row < rows.stop]
            for index, row in inside:
                weight[row - rows.start] = tensors[change.key].read(slice(index, index + 1))[0].to(weight)
            return weight
        case Whole():
            place = tensors[change.key]
            _require(place.shape == (shape[::-1] if transposed else shape), place, shape)
            return (place.read().T[rows] if transposed else place.read(rows)).to(weight)
        case Scaled():
            found = tensors[change.key].shape
            _require(found in ((shape[0], 1), (1, shape[1])), tensors[change.key], shape)
            return weight * tensors[change.key].read(rows if found[1] == 1 else slice(None)).to(weight)
        case ScaledBias():
            _require(tensors[change.key].shape == (shape[0], 1), tensors[change.key], shape)
            return weight * tensors[change.key].read(rows).flatten().to(weight)
        case Layered():
            return merge_layer(change, weight, tensors)


def fitting(change: LowRank, tensors: Mapping[str, Stored], shape: tuple[int, ...]) -> None:
    """Raises ExportError unless its product has this shape."""
    _require(tensors[change.b].shape[0] == shape[0] and tensors[change.a].shape[1] == shape[1], tensors[change.b], shape)


def _require(fits: bool, change: Stored, shape: tuple[int, ...]) -> None:
    """torch would stretch a wrong shape in silence."""
    if not fits:
        raise ExportError(
            f"{change.file}: {change.key} has the shape {change.shape} and changes a tensor of the base of shape {shape}; "
            "train again on this base"
        )


def _add_low_rank(change: LowRank, weight_OI: torch.Tensor, *, tensors: Mapping[str, Stored], rows: slice, strength: float) -> torch.Tensor:
    """In the order of peft's own in-memory merge, so that float32 results are equal to the bit."""
    a_RI = tensors[change.a].read().to(weight_OI)
    if change.values is not None:
        a_RI = a_RI * tensors[change.values].read().to(weight_OI)
    delta_OI = tensors[change.b].read(rows).to(weight_OI) @ a_RI
    weight_OI += delta_OI.mul_(change.scale * strength)
    if change.magnitude is None:
        return weight_OI
    factor_O = tensors[change.magnitude].read(rows).to(weight_OI) / weight_OI.norm(dim=1)
    return weight_OI.mul_(factor_O.view(-1, 1))
