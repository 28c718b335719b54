"""Exporters to GGUF: what llama.cpp, Ollama and Tabby load."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from finetune.exporters.base import EXPORTERS, Dtype, Exporter, Form, MergeBase, MergeReport, OtherAdapter, Tools
from finetune.exporters.weights import Merged

GgufType = Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m"]
# What the converter writes; everything else is quantised from the 16-bit file.
CONVERTED: dict[str, Dtype] = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


class GgufFile(Exporter):
    """What both GGUF forms share."""

    merges: ClassVar[bool] = True
    type: GgufType = Field("q8_0", description="number format of the model's weights; q8_0 halves a 16-bit file at almost no loss")
    merge_base: MergeBase = Field(
        "dequantized", description="for a quantised base: dequantized is what was trained, original the weights on disk"
    )
    strength: float = Field(1.0, gt=0, description="scales what was learnt")
    verify_tokens: PositiveInt = Field(256, description="tokens of held-out rows on which llama.cpp is compared with the adapter")

    @property
    def name(self) -> str:
        return f"{self.form.replace('_', '-')}-{self.type}"

    @property
    def merge(self) -> Merged:
        """The merge that the file is made from."""
        dtype = CONVERTED.get(self.type, "float16")
        return Merged(dtype=dtype, merge_base=self.merge_base, strength=self.strength, adapters=self.others, compare_bases=False)

    @property
    def sums(self) -> bool:
        return self.merge.sums

    def __call__(self, tools: Tools, folder: Path) -> MergeReport:
        tools.write_gguf(folder, self)
        return tools.verify(folder, self)


@EXPORTERS.register("gguf")
class Gguf(GgufFile):
    """One GGUF file with the adapter merged into the weights, for llama.cpp, Ollama and Tabby."""

    form: ClassVar[Form] = "gguf"
    adapters: tuple[OtherAdapter, ...] = Field((), description="further adapters of the same base to add up: {path: RUN, weight: 0.5}")

    @property
    def others(self) -> tuple[OtherAdapter, ...]:
        return self.adapters


@EXPORTERS.register("gguf_lora")
class GgufLora(GgufFile):
    """The base and the adapter as two GGUF files: one llama.cpp server answers with and without the adapter."""

    form: ClassVar[Form] = "gguf_lora"
    type: GgufType = Field("f16", description="number format of the base's weights; the adapter is float32")
