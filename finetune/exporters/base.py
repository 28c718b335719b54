"""What an exporter is, the tools it works with, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

from pydantic import BeforeValidator, Field, FiniteFloat, PositiveInt, field_validator

from finetune.registry import Plugin, Registry, Written

if TYPE_CHECKING:
    from finetune.exporters.gguf import GgufFile
    from finetune.exporters.weights import Merged


def _not_in_place(value: object) -> object:
    """Names of a base that stays quantised get the reason; other mistakes the list of what there is."""
    if isinstance(value, str) and value.lower() in ("nf4", "int8", "4bit", "8bit", "quantized", "quantised", "in_place", "inplace"):
        raise ValueError(
            "dequantized or original: adding inside the quantised weights is refused, since rounding to so few levels loses most of what "
            "was learnt; for a small file write export={kind: gguf, type: q4_k_m}"
        )
    return value


MergeBase = Annotated[Literal["dequantized", "original"], BeforeValidator(_not_in_place)]
Form = Literal["merged", "adapter", "gguf", "gguf_lora"]
Dtype = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean loss of the learnt tokens, nats a token."""

    base: float
    adapter: float
    exported: float


@dataclass(frozen=True, slots=True)
class AddedAdapter:
    """An adapter that was added beside the run's own: the name of its run or folder, the SHA-256 of its weights, its weight."""

    name: str
    digest: str
    weight: float


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a fresh process found when it reloaded the export and set it against the adapter, on the same rows.

    `base`: what the adapter was added to ("none": it was not). `kl`: mean KL(adapter || exported), nats a token; `effect` is the
    same figure for base and adapter, so kl / effect is the part of what was learnt that got lost. `tolerance`: the kl allowed.
    A GGUF file is read by llama.cpp, which gives log probabilities: there `max_abs_logit_difference` is one of those.
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
    form: Form = "merged"
    added: tuple[AddedAdapter, ...] = ()


class OtherAdapter(Written):
    """A further adapter to add, and the factor by which what it learnt is scaled."""

    path: str = Field(description="the folder of a run, or of an adapter, trained on the same base")
    weight: FiniteFloat = Field(1.0, description="below 0: what it learnt is taken away")

    @field_validator("weight")
    @classmethod
    def _does_something(cls, weight: float) -> float:
        if weight == 0:
            raise ValueError("a weight other than 0, or leave the adapter out")
        return weight


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

    def write_gguf(self, folder: Path, options: GgufFile) -> None:
        """Write the base with the adapter merged into it as one GGUF file, or the base and the adapter as two."""
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
    form: ClassVar[Form]
    verify_tokens: PositiveInt = Field(4096, description="tokens of held-out rows on which the result is compared with the adapter")
    tolerance: float | None = Field(
        None, gt=0, description="KL divergence from the adapter that is allowed, nats a token; empty: by number format"
    )

    @property
    def name(self) -> str:
        """The folder under run/export that it fills."""
        return self.kind

    @property
    def others(self) -> tuple[OtherAdapter, ...]:
        """Adapters that are merged beside the run's own."""
        return ()

    @property
    def sums(self) -> bool:
        """Whether it scales what was learnt or adds several up, which only methods that are sums of base and change allow."""
        return False

    def __call__(self, tools: Tools, folder: Path) -> MergeReport:
        """Fill `folder` and say how its content compares with the adapter."""
        raise NotImplementedError


EXPORTERS: Registry[Exporter] = Registry("exporter", Exporter)
