"""An adapter added to the weights it was trained on, tensor by tensor, on disk.

An adapter trained on a quantised base is added to what bitsandbytes made of that base, back in full precision: that is
what it was trained and measured on. The original weights can be asked for. Adding inside 4-bit weights is not offered:
rounding to 16 levels eats most of what was learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finetune.errors import ExportError
from finetune.merge.adapter import Adapter, LowRank, Whole, apply, read_adapter
from finetune.merge.loading import BaseWeights
from finetune.merge.shards import INDEX, write_shards

if TYPE_CHECKING:
    import torch

__all__ = ["INDEX", "Adapter", "BaseWeights", "MergeOptions", "MergedWeights", "merge", "output_bytes", "read_adapter"]

Dtype = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """`original`: into the weights on disk, else into those training saw. `strength` scales what was learnt."""

    dtype: Dtype = "bfloat16"
    original: bool = False
    strength: float = 1.0
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


def merge(weights: BaseWeights, adapter: Adapter, *, folder: Path, options: MergeOptions) -> MergedWeights:
    """Write the base with the adapter added into `folder`, which exists, as safetensors.

    Each tensor is added to in float32 and rounded once. Memory: twice the largest file (`shard_bytes`), and one tensor in
    float32.
    """
    from safetensors import safe_open

    _check_fit(weights, adapter, options.strength)
    sizes = _sizes(weights, options.dtype)
    with safe_open(adapter.weights, framework="pt") as file:

        def get(name: str) -> torch.Tensor:
            weight = weights.read(name).to(weights.device) if options.original else weights.as_trained(name)
            if not weight.is_floating_point():
                return weight.cpu()
            if (change := adapter.changes.get(name)) is not None:
                transposed = name in weights.transposed
                weight = apply(change, weight.float(), read=file.get_tensor, strength=options.strength, transposed=transposed)
            return _rounded(name, weight, options.dtype)

        files = write_shards(folder, sizes, get=get, shard_bytes=options.shard_bytes)
    return MergedWeights(
        files=tuple(files),
        bytes=sum(sizes.values()),
        tensors=len(sizes),
        changed=len(adapter.changes),
        quantised=0 if options.original else len(weights.quantised),
        ignored=weights.ignored,
    )


def output_bytes(weights: BaseWeights, dtype: Dtype) -> int:
    """The size of the merged weights."""
    return sum(_sizes(weights, dtype).values())


def _sizes(weights: BaseWeights, dtype: Dtype) -> dict[str, int]:
    width = 4 if dtype == "float32" else 2
    return {name: stored.numbers * (width if stored.floating else stored.width) for name, stored in weights.stored.items()}


def _rounded(name: str, tensor: torch.Tensor, dtype: Dtype) -> torch.Tensor:
    import torch

    out: torch.Tensor = tensor.to(getattr(torch, dtype)).cpu().contiguous()
    if not bool(torch.isfinite(out).all()):
        raise ExportError(f"{name}: a merged weight is not finite in {dtype}; write export.dtype=bfloat16 or float32")
    return out


def _check_fit(weights: BaseWeights, adapter: Adapter, strength: float) -> None:
    """Raises ExportError for a change that has no tensor to go to, or that a tied head or a strength makes ambiguous."""
    tied = {*weights.tied, *weights.tied.values()}
    for name, change in adapter.changes.items():
        if name in tied and isinstance(change, LowRank | Whole):
            raise ExportError(
                f"{adapter.weights}: it changes {name}, which this model shares between input and output while the adapter "
                "was trained on one of them; write export=adapter"
            )
        if name not in weights.stored:
            raise ExportError(f"{adapter.weights}: it changes {name}, which this base does not have; train again on this base")
        if strength != 1.0 and not (isinstance(change, LowRank) and change.magnitude is None):
            raise ExportError(f"export.strength={strength}: {name} is not a plain sum of base and adapter; write export.strength=1")
