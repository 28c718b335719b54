"""The adapters an export is made from: on which base they were trained, and what may be added to what."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.base import BaseFolder
from finetune.errors import ExportError
from finetune.exporters import AddedAdapter, OtherAdapter
from finetune.files import read_object
from finetune.methods import BASE, CONFIG, WEIGHTS, adapter_type


@dataclass(frozen=True, slots=True)
class Found:
    """A further adapter: where it lies, and what may be said of it elsewhere."""

    folder: Path
    public: AddedAdapter


def find_others(others: Sequence[OtherAdapter], own: Path, base: BaseFolder) -> list[Found]:
    """The further adapters of an export. Raises ExportError for one that is not there, of another base, of another kind, or named twice."""
    found: list[Found] = []
    for other in others:
        folder = _adapter_folder(Path(other.path))
        check_trained_on(folder, base)
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
        found.append(Found(folder, AddedAdapter(name, digest_of(folder / WEIGHTS), other.weight)))
    return found


def _adapter_folder(path: Path) -> Path:
    """The adapter of a run, or the adapter that lies there itself."""
    for folder in (path / "adapter", path):
        if (folder / CONFIG).is_file():
            return folder
    raise ExportError(f"export.adapters: {path}: no adapter lies here; write the folder of a trained run, or of an adapter")


def check_trained_on(adapter: Path, base: BaseFolder) -> None:
    """Raises ExportError unless the base's files are those the adapter was trained on."""
    adapter_type(adapter)
    path = adapter / BASE
    if not path.is_file():
        raise ExportError(f"{adapter}: {BASE} is missing, so the base it belongs to is not known; train again")
    trained_on = read_object(path, "digest", "name", error=ExportError, cure="copy the file again, or train again")
    if trained_on["digest"] == base.digest:
        return
    if trained_on["name"] in (str(base.path), base.name):
        raise ExportError(
            f"{base.path}: the base model's files have changed since {adapter} was trained on them; bring them back, or train again"
        )
    raise ExportError(
        f"{adapter}: trained on {trained_on['name']}, found model.path={base.name}; write the model.path of that very base, or train again"
    )


def digest_of(path: Path) -> str:
    """SHA-256 of an adapter's weights."""
    if not path.is_file():
        raise ExportError(f"{path}: the adapter's weights are missing; train again")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
