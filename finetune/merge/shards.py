"""Weights as safetensors files of a bounded size, with an index when there are several."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.errors import ExportError
from finetune.progress import track

if TYPE_CHECKING:
    import torch

INDEX = "model.safetensors.index.json"
READABLE = 0o644  # safetensors makes files that only their owner can read


def write_shards(folder: Path, sizes: Mapping[str, int], *, get: Callable[[str], torch.Tensor], shard_bytes: int) -> list[str]:
    """Write the tensors that `sizes` (bytes) names, in its order, and give the names of the files.

    `get` is called once for each; memory holds one file's tensors at most.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    groups = _group(sizes, shard_bytes)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(groups, start=1):
        file = "model.safetensors" if len(groups) == 1 else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        tensors = {name: get(name) for name in track(names, label=file, total=len(names))}
        try:
            save_file(tensors, folder / file, metadata={"format": "pt"})
        except (OSError, SafetensorError) as error:
            raise ExportError(
                f"{folder / file}: can not be written ({error}); make room on the disk, or write runs=FOLDER on another one"
            ) from error
        (folder / file).chmod(READABLE)
        weight_map |= dict.fromkeys(names, file)
    if len(groups) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
        (folder / INDEX).chmod(READABLE)
    return list(dict.fromkeys(weight_map.values()))


def _group(sizes: Mapping[str, int], shard_bytes: int) -> list[list[str]]:
    """Names side by side while they fit; a tensor larger than the limit gets a file of its own."""
    groups: list[list[str]] = [[]]
    room = shard_bytes
    for name, size in sizes.items():
        if groups[-1] and size > room:
            groups.append([])
            room = shard_bytes
        groups[-1].append(name)
        room -= size
    return groups
