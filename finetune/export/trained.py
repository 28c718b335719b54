"""The adapters an export is made from: on which base they were trained, and what may be added to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.base import BaseFolder
from finetune.errors import ExportError
from finetune.exporters import AddedAdapter, OtherAdapter
from finetune.methods import CONFIG, adapter_type, check_adapter_base


@dataclass(frozen=True, slots=True)
class Found:
    """A further adapter: where it lies, and what may be said of it elsewhere."""

    folder: Path
    public: AddedAdapter


def find_others(others: Sequence[OtherAdapter], own: Path, base: BaseFolder) -> list[Found]:
    """The further adapters of an export. Raises FinetuneError for one that is missing, of another base or kind, or named twice."""
    found: list[Found] = []
    for other in others:
        folder = _adapter_folder(Path(other.path))
        digest = check_adapter_base(folder, base)
        kind, own_kind = adapter_type(folder), adapter_type(own)
        if kind != own_kind:
            raise ExportError(
                f"export.adapters: {folder} is a {kind} adapter, {own} is {own_kind}; name adapters of one kind, or export one alone"
            )
        if folder.resolve() in (own.resolve(), *(earlier.folder.resolve() for earlier in found)):
            raise ExportError(
                f"export.adapters: {folder} is named twice; write its weight once (export.strength is that of the run itself)"
            )
        name = folder.resolve().parent.name if folder.name == "adapter" else folder.resolve().name
        found.append(Found(folder, AddedAdapter(name, digest, other.weight)))
    return found


def _adapter_folder(path: Path) -> Path:
    """The adapter of a run, or the adapter that lies there itself."""
    for folder in (path / "adapter", path):
        if (folder / CONFIG).is_file():
            return folder
    raise ExportError(f"export.adapters: {path}: no adapter lies here; write the folder of a trained run, or of an adapter")
