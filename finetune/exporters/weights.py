"""Exporters to safetensors: what transformers, peft and vLLM load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from finetune.exporters.base import EXPORTERS, Dtype, Exporter, Form, MergeBase, MergeReport, OtherAdapter, Tools


@EXPORTERS.register("merged")
class Merged(Exporter):
    """One checkpoint with the adapter merged into the weights; loads in plain transformers."""

    merges: ClassVar[bool] = True
    form: ClassVar[Form] = "merged"
    merge_base: MergeBase = Field(
        "dequantized", description="for a quantised base: dequantized is what was trained, original the weights on disk"
    )
    dtype: Dtype = Field("bfloat16", description="number format of the weights")
    strength: float = Field(1.0, gt=0, description="scales what was learnt; 0.8 is a known cure for overfitting")
    adapters: tuple[OtherAdapter, ...] = Field((), description="further adapters of the same base to add up: {path: RUN, weight: 0.5}")
    compare_bases: bool = Field(
        True, description="for a quantised base: merge into the other base too and report both; takes time and disk twice"
    )

    @property
    def others(self) -> tuple[OtherAdapter, ...]:
        return self.adapters

    @property
    def sums(self) -> bool:
        return self.strength != 1.0 or bool(self.adapters)

    def __call__(self, tools: Tools, folder: Path) -> MergeReport:
        tools.merge(folder, self)
        report = tools.verify(folder, self)
        return replace(report, other=tools.measure_other_base(self)) if self.compare_bases and tools.quantised else report


@EXPORTERS.register("adapter")
class AdapterOnly(Exporter):
    """The adapter alone, beside the name, revision and digest of its base."""

    form: ClassVar[Form] = "adapter"

    def __call__(self, tools: Tools, folder: Path) -> MergeReport:
        tools.copy_adapter(folder)
        return tools.verify(folder, self)
