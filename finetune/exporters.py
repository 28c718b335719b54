"""Exporters: the forms in which a run's adapter is handed on.

An exporter is one class: fields are its options, its call fills a folder with the tools it is given and says how the
result compares with the adapter. Card, licence and the move into the run's folder are the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from pydantic import Field, PositiveInt

from finetune.registry import Plugin, Registry

MergeBase = Literal["dequantized", "original"]
Dtype = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean loss of the learnt tokens, nats a token."""

    base: float
    adapter: float
    exported: float


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a fresh process found when it reloaded the export and set it against the adapter, on the same rows.

    `base`: what the adapter was added to ("none": it was not). `kl`: mean KL(adapter || exported), nats a token; `effect` is the
    same figure for base and adapter, so kl / effect is the part of what was learnt that got lost. `tolerance`: the kl allowed.
    """

    base: Literal["dequantized", "original", "none"]
    kl: float
    effect: float
    top1: float
    max_abs_logit_difference: float
    tolerance: float
    passed: bool
    loss: Losses
    greedy_equal: int
    greedy_prompts: int
    tokens: int
    rows_from: Literal["valid", "train"]
    dtype: str
    strength: float
    other: MergeReport | None = None


class Tools(Protocol):
    """What an exporter works with."""

    @property
    def quantised(self) -> bool:
        """Whether the adapter was trained on a quantised base: then there are two bases to merge into."""
        ...

    def merge(self, folder: Path, options: Merged) -> None:
        """Write a complete checkpoint, with the adapter merged into the weights, into `folder`."""
        ...

    def copy_adapter(self, folder: Path) -> None:
        """Write the adapter and the tokenizer into `folder`, with the base named and not pointed at."""
        ...

    def verify(self, folder: Path, options: Exporter) -> MergeReport:
        """Reload `folder` in a fresh process and compare. Raises ExportError beyond tolerance."""
        ...

    def measure_other_base(self, options: Merged) -> MergeReport:
        """The same figures for the other merge base, whatever they are; nothing of it is kept."""
        ...


class Exporter(Plugin):
    """Writes a run's adapter in a form to deploy.

    `merges`: the form needs an adapter that can be folded into the weights.
    """

    merges: ClassVar[bool] = False
    verify_tokens: PositiveInt = Field(4096, description="tokens of held-out rows on which the result is compared with the adapter")
    tolerance: float | None = Field(
        None, gt=0, description="KL divergence from the adapter that is allowed, nats a token; empty: by number format"
    )

    def __call__(self, tools: Tools, folder: Path) -> MergeReport:
        """Fill `folder` and say how its content compares with the adapter."""
        raise NotImplementedError


EXPORTERS: Registry[Exporter] = Registry("exporter", Exporter)


@EXPORTERS.register("merged")
class Merged(Exporter):
    """One checkpoint with the adapter merged into the weights; loads in plain transformers."""

    merges: ClassVar[bool] = True
    merge_base: MergeBase = Field(
        "dequantized", description="for a quantised base: dequantized is what was trained, original the weights on disk"
    )
    dtype: Dtype = Field("bfloat16", description="number format of the weights")
    strength: float = Field(1.0, gt=0, description="scales what was learnt")
    compare_bases: bool = Field(False, description="merge into the other base too and report both; takes the time and disk twice")

    def __call__(self, tools: Tools, folder: Path) -> MergeReport:
        tools.merge(folder, self)
        report = tools.verify(folder, self)
        return replace(report, other=tools.measure_other_base(self)) if self.compare_bases and tools.quantised else report


@EXPORTERS.register("adapter")
class AdapterOnly(Exporter):
    """The adapter alone, beside the name, revision and digest of its base."""

    def __call__(self, tools: Tools, folder: Path) -> MergeReport:
        tools.copy_adapter(folder)
        return tools.verify(folder, self)
