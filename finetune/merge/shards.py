"""Weights as safetensors files of a bounded size, with an index when there are several."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.errors import ExportError
from finetune.files import READABLE
from finetune.merge.reading import DTYPES
from finetune.progress import track

if TYPE_CHECKING:
    import torch

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor to write; `dtype` as safetensors writes it."""

    shape: tuple[int, ...]
    dtype: str
    bytes: int


def write_shards(folder: Path, plan: Mapping[str, Planned], *, get: Callable[[str], Iterable[torch.Tensor]], shard_bytes: int) -> list[str]:
    """Write the tensors of `plan`, in its order, and give the names of the files.

    `get` is called once for each and gives it row by row, as many at once as it likes: no more than those are held.
    """
    groups = _group({name: planned.bytes for name, planned in plan.items()}, shard_bytes)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(groups, start=1):
        file = "model.safetensors" if len(groups) == 1 else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        try:
            _write(folder / file, {name: plan[name] for name in names}, get)
        except OSError as error:
            raise ExportError(
                f"{folder / file}: can not be written ({error.strerror}); make room on the disk, or write runs=FOLDER on another one"
            ) from error
        (folder / file).chmod(READABLE)
        weight_map |= dict.fromkeys(names, file)
    if len(groups) > 1:
        index = {"metadata": {"total_size": sum(planned.bytes for planned in plan.values())}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
        (folder / INDEX).chmod(READABLE)
    return list(dict.fromkeys(weight_map.values()))


def _write(path: Path, plan: Mapping[str, Planned], get: Callable[[str], Iterable[torch.Tensor]]) -> None:
    """The bytes that safetensors' own save_file would write, without holding them: header first, then one tensor after the other."""
    order = {dtype: rank for rank, dtype in enumerate(DTYPES)}
    names = sorted(plan, key=lambda name: (-order[plan[name].dtype], name))
    with path.open("wb") as file:
        file.write(header(names, plan))
        for name in track(names, label=path.name, total=len(names)):
            before = file.tell()
            for piece in get(name):
                file.write(_bytes(piece))
            if file.tell() - before != plan[name].bytes:
                raise RuntimeError(f"{name}: {file.tell() - before} bytes written, {plan[name].bytes} announced")


def header(names: Sequence[str], plan: Mapping[str, Planned]) -> bytes:
    """The beginning of a safetensors file that holds these tensors in this order."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in names:
        planned = plan[name]
        entries[name] = {"dtype": planned.dtype, "shape": planned.shape, "data_offsets": [start, start + planned.bytes]}
        start += planned.bytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: torch.Tensor) -> memoryview:
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


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
