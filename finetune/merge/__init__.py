"""Adapters added to the weights they were trained on, some rows of one tensor at a time, from disk to disk.

An adapter trained on a quantised base is added to what bitsandbytes made of that base, back in full precision: that is
what it was trained and measured on. The original weights can be asked for. Adding inside 4-bit weights is not offered:
rounding to 16 levels eats most of what was learnt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finetune.errors import ExportError
from finetune.merge.adapter import Adapter, read_adapter
from finetune.merge.adding import Adding, Rooms
from finetune.merge.changes import Change, LowRank, Place, Rows, ScaledBias, Whole, apply
from finetune.merge.layered import Layered
from finetune.merge.loading import BaseWeights
from finetune.merge.rounding import Rows as ReadRows
from finetune.merge.shards import INDEX, Planned, write_shards

if TYPE_CHECKING:
    import torch

__all__ = ["INDEX", "Adapter", "BaseWeights", "MergeOptions", "MergedWeights", "Part", "merge", "output_bytes", "read_adapter"]

Dtype = Literal["bfloat16", "float16", "float32"]
_STORED = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


@dataclass(frozen=True, slots=True)
class Part:
    """An adapter, and the factor by which what it learnt is scaled."""

    adapter: Adapter
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """`original`: into the weights on disk, else into those training saw."""

    dtype: Dtype = "bfloat16"
    original: bool = False
    shard_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class MergedWeights:
    """What a merge wrote; `ignored` are tensors of the base's files that the model has no use for."""

    files: tuple[str, ...]
    bytes: int
    tensors: int
    changed: int
    quantised: int
    ignored: tuple[str, ...]


def merge(weights: BaseWeights, parts: Sequence[Part], *, folder: Path, options: MergeOptions) -> MergedWeights:
    """Write the base with the adapters added into `folder`, which exists, as safetensors.

    Each number is added to in float32 and rounded once. Memory, whatever the model's size: some rows of a tensor (4 MB) a few times
    over, and half a byte for each number of a tensor that goes through 4 bits.
    """
    for part in parts:
        _check_fit(weights, part, alone=len(parts) == 1)
    _check_grown(weights, parts)
    plan = _plan(weights, options.dtype)
    names = {weights.written_as(name): name for name in weights.stored}
    rooms = Rooms()

    def rows_of(written: str) -> Iterator[torch.Tensor]:
        name = names[written]
        merged = _merged(weights, parts, name, options, rooms)
        return iter([_together(merged).T]) if name in weights.transposed else merged

    files = write_shards(folder, plan, get=rows_of, shard_bytes=options.shard_bytes)
    return MergedWeights(
        files=tuple(files),
        bytes=sum(planned.bytes for planned in plan.values()),
        tensors=len(plan),
        changed=len({name for part in parts for name in part.adapter.changes} & weights.stored.keys()),
        quantised=0 if options.original else len(weights.quantised),
        ignored=tuple(weights.places.ignored),
    )


def output_bytes(weights: BaseWeights, dtype: Dtype) -> int:
    """The size of the merged weights."""
    return sum(planned.bytes for planned in _plan(weights, dtype).values())


def _plan(weights: BaseWeights, dtype: Dtype) -> dict[str, Planned]:
    width = 4 if dtype == "float32" else 2
    return {
        weights.written_as(name): Planned(place.shape, _STORED[dtype], place.numbers * width)
        if place.floating
        else Planned(place.shape, place.dtype, place.numbers * place.width)
        for name, place in weights.stored.items()
    }


def _merged(weights: BaseWeights, parts: Sequence[Part], name: str, options: MergeOptions, rooms: Rooms) -> Iterator[torch.Tensor]:
    """The rows of one tensor, outputs first, as they are to be written; the next ones may stand in the same memory."""
    changes = [(part, part.adapter.changes[name]) for part in parts if name in part.adapter.changes]
    together = any(not _by_rows(change) for _, change in changes)
    room = None if together or name in weights.transposed else rooms.read
    read = weights.as_stored(name, room) if options.original else weights.as_trained(name, room)
    adding = _adding(weights, changes, name, options)
    for rows, found in _blocks(weights, name, read, together=together):
        if adding and adding.takes(found):
            total = adding(found, rows, rooms)
            if total is None:
                raise _not_finite(name, options.dtype)
            yield total
            continue
        if not found.is_floating_point():
            yield found.cpu()
            continue
        block, at = found, Place(rows, weights.shape(name), name in weights.transposed)
        for part, change in changes:
            block = _changed(block.float(), part, change, at)
        yield _rounded(name, block, options.dtype)


def _adding(weights: BaseWeights, changes: Sequence[tuple[Part, Change]], name: str, options: MergeOptions) -> Adding | None:
    """The one pass, where it gives all there is to do."""
    if len(changes) != 1 or options.dtype != "bfloat16" or weights.device.type != "cpu" or name in weights.transposed:
        return None
    ((part, change),) = changes
    if not isinstance(change, LowRank) or change.magnitude is not None or change.values is not None:
        return None
    return Adding(change, part.adapter.tensors, weights.shape(name), strength=part.strength)


def _by_rows(change: Change) -> bool:
    return not isinstance(change, Layered) or change.form.by_rows


def _blocks(weights: BaseWeights, name: str, read: ReadRows, *, together: bool) -> Iterator[tuple[slice, torch.Tensor]]:
    """Some rows at a time, or all of them for a change that looks at them together."""
    blocks = [*weights.blocks(name)]
    if together:
        yield slice(0, weights.shape(name)[0]), _together(read(rows) for rows in blocks)
        return
    yield from ((rows, read(rows)) for rows in blocks)


def _changed(block: torch.Tensor, part: Part, change: Change, at: Place) -> torch.Tensor:
    return apply(change, block, tensors=part.adapter.tensors, at=at, strength=part.strength)


def _together(blocks: Iterator[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.cat([*blocks])


def _rounded(name: str, tensor: torch.Tensor, dtype: Dtype) -> torch.Tensor:
    import torch

    out: torch.Tensor = tensor.to(getattr(torch, dtype)).cpu()
    # the extremes, which a NaN takes over: looking at each number costs as much as all the rest of the merge
    if out.numel() and not all(math.isfinite(float(end)) for end in torch.aminmax(out)):
        raise _not_finite(name, dtype)
    return out


def _not_finite(name: str, dtype: Dtype) -> ExportError:
    cure = "write export.dtype=bfloat16 or float32" if dtype == "float16" else "copy the base again, or train the adapter again"
    return ExportError(f"{name}: a merged weight is not finite in {dtype}; {cure}")


def _check_fit(weights: BaseWeights, part: Part, *, alone: bool) -> None:
    """Raises ExportError for a change that has no tensor to go to, or that a tied head, a strength or others make ambiguous."""
    tied = {*weights.tied, *weights.tied.values()}
    file = part.adapter.weights
    for name, change in part.adapter.changes.items():
        if isinstance(change, ScaledBias | Layered) and name.endswith(".bias") and name not in weights.stored:
            continue  # a layer without a bias
        if name in tied and isinstance(change, LowRank | Whole) and not (isinstance(change, Whole) and change.everywhere):
            raise ExportError(
                f"{file}: it changes {name}, which this model shares between input and output while the adapter "
                "was trained on one of them; write export=adapter"
            )
        if name in weights.places.joined:
            raise ExportError(f"{file}: it changes {name}, which lies in parts in the base's files; write export=adapter")
        if name not in weights.stored:
            raise ExportError(f"{file}: it changes {name}, which this base does not have; train again on this base")
        if isinstance(change, LowRank) and change.magnitude is None:
            continue
        if part.strength != 1.0:
            raise ExportError(
                f"export.strength={part.strength:g}: {file}: {name} is not a plain sum of base and adapter; write export.strength=1"
            )
        if not alone:
            raise ExportError(
                f"export.adapters: {file}: {name} is not a plain sum of base and adapter, so several can not be added up; export one alone"
            )


def _check_grown(weights: BaseWeights, parts: Sequence[Part]) -> None:
    """Raises ExportError unless a row that the base does not have comes from an adapter."""
    changed = {name for part in parts for name, change in part.adapter.changes.items() if isinstance(change, Rows | Whole)}
    missing = [name for name in weights.grown if name not in changed]
    if missing:
        raise ExportError(
            f"{missing[0]}: the recipe adds tokens, and nothing here says what their rows are; export the run's own adapter merged"
        )
