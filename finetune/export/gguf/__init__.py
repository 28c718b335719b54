"""GGUF files of a run: converted by llama.cpp's converter and quantised by its engine, each in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from finetune.base import BaseFolder
from finetune.data.render import Encoder
from finetune.deploy.settings import ADAPTER, MODEL
from finetune.errors import ExportError
from finetune.export.gguf.tokenizer import pretokenizer_name
from finetune.export.process import in_fresh_process
from finetune.exporters import CONVERTED, GgufType

__all__ = ["ADAPTER", "MODEL", "AdapterConversion", "Conversion", "Quantisation", "Steps", "context_of", "run", "write_model"]

MODULE = "finetune.export.gguf"


class Conversion(BaseModel):
    """A checkpoint to write as a GGUF file. `stops` beyond the tokenizer's eos end an answer too; `pre`: llama.cpp's name of the
    pre-tokeniser, for a tokenizer its converter does not know by sight; `context`: tokens within which it equals the checkpoint;
    `words`: tokens that text may hold; `controls`: ids of those it may not."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    step: Literal["convert"] = "convert"
    source: Path
    target: Path
    type: GgufType
    name: str
    context: int
    stops: tuple[str, ...]
    pre: str | None
    words: tuple[str, ...] = ()
    controls: tuple[int, ...] = ()


class Quantisation(BaseModel):
    """A 16-bit GGUF file to quantise."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    step: Literal["quantise"] = "quantise"
    source: Path
    target: Path
    type: GgufType


class AdapterConversion(BaseModel):
    """A LoRA adapter (peft's folder) to write as a GGUF file; `source` is the folder of a checkpoint of its base's architecture."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    step: Literal["adapter"] = "adapter"
    source: Path
    target: Path
    adapter: Path
    strength: float
    name: str


Step = Annotated[Conversion | Quantisation | AdapterConversion, Field(discriminator="step")]


class Steps(BaseModel):
    """What one process does."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: tuple[Step, ...]


def context_of(base: BaseFolder) -> int:
    """The tokens within which llama.cpp computes what the model computes: it has no sliding window for every architecture that has one."""
    lengths = [length for length in (base.context_length, base.sliding_window) if length is not None]
    if not lengths:
        raise ExportError(f"{base.path}: config.json names no context length; add max_position_embeddings")
    return min(lengths)


def write_model(source: Path, folder: Path, base: BaseFolder, *, kind: GgufType, name: str) -> Conversion:
    """The checkpoint in `source` as `folder`'s model, 16 bits where `kind` is still to be quantised."""
    return Conversion(
        source=source,
        target=folder / MODEL,
        type=kind if kind in CONVERTED else "f16",
        name=name,
        context=context_of(base),
        stops=base.family.stop,
        pre=pretokenizer_name(source / "tokenizer.json"),
        words=base.family.placeholders,
        controls=tuple(sorted(Encoder(base.tokenizer, base.family).control_ids)),
    )


def run(steps: Sequence[Step], scratch: Path) -> None:
    """Do the steps in order, in a process of their own. Raises ExportError for what llama.cpp can not take."""
    in_fresh_process(MODULE, Steps(steps=tuple(steps)), scratch)
