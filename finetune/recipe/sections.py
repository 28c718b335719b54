"""The sections of a recipe: one frozen class per stage, the only place where defaults live."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from finetune.data.filters import FILTERS, Filter, default_filters
from finetune.data.miners import MINERS, Miner
from finetune.data.miners.commits import Commits
from finetune.data.miners.fim import Fim
from finetune.exporters import EXPORTERS, Exporter, Merged
from finetune.methods import METHODS, Lora, Method
from finetune.metrics import METRICS, Metric, default_metrics

Share = Annotated[float, Field(ge=0, le=1)]
HoleKind = Literal["line", "span", "block"]


class Section(BaseModel):
    """A part of a recipe: unknown keys are an error, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(Section):
    """The base model."""

    path: str = Field("demo", description="a folder, a hub id already in the local cache, or demo: the embedded model")
    revision: str | None = Field(None, description="commit or tag, for a hub id")
    family: Literal["auto", "starcoder2", "starcoder", "santacoder", "qwen2.5-coder", "none"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 where the hardware multiplies in it, else float32"
    )
    quantization: Literal["none", "nf4", "int8"] = "none"
    double_quant: bool = Field(True, description="quantise nf4's scales as well: 0.37 bit a weight less (QLoRA, arXiv 2305.14314)")


class RedactionSection(Section):
    """Secrets and personal data; always on, this only tunes it."""

    allow: tuple[str, ...] = Field((), description="values that are no secret here: documented examples, test keys")


class DataSection(Section):
    """From repositories to packed rows."""

    repositories: tuple[str, ...] = Field((), description="paths of git repositories, work trees or bare")
    ref: str = Field("HEAD", description="the commit to read, for each repository")
    history: NonNegativeInt | None = Field(None, description="at most so many commits, newest first; empty: all")
    languages: tuple[str, ...] = Field((), description="only these languages; empty: every one known")
    filters: tuple[Annotated[Filter, FILTERS], ...] = default_filters()
    redaction: RedactionSection = RedactionSection()
    miners: tuple[Annotated[Miner, MINERS], ...] = (Fim(), Commits())
    valid_share: Share = Field(0.1, description="share of files held out, by a hash of repository and path")
    learn: Literal["all", "answer"] = Field("all", description="answer: only the middle, or the answer, is learnt")
    row_length: PositiveInt = Field(2048, description="tokens in a packed row")


class TrainSection(Section):
    """How the adapter is trained."""

    learning_rate: PositiveFloat = 2e-4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: NonNegativeInt = 10
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: PositiveFloat = 1.0
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = "adamw"
    batch_size: PositiveInt = Field(1, description="rows in one forward pass, on each device")
    accumulation: PositiveInt = Field(16, description="forward passes for one optimizer step")
    epochs: PositiveFloat = 1.0
    max_steps: PositiveInt | None = Field(None, description="stop after so many optimizer steps, whatever epochs says")
    gradient_checkpointing: bool = True
    eval_every: PositiveInt = Field(50, description="optimizer steps between losses on held-out rows")
    save_every: PositiveInt = Field(50, description="optimizer steps between checkpoints")
    keep_checkpoints: PositiveInt = 2
    log_every: PositiveInt = 1


class EvaluateSection(Section):
    """How base and tuned are measured on the held-out files."""

    holes: tuple[HoleKind, ...] = ("line", "span", "block")
    items: PositiveInt = Field(100, description="holes of each kind")
    metrics: tuple[Annotated[Metric, METRICS], ...] = Field(default_factory=default_metrics)
    max_new_tokens: PositiveInt = 96
    batch_size: PositiveInt = Field(8, description="prompts answered at once, each by base and tuned")
    resamples: PositiveInt = Field(2000, description="bootstrap resamples for the intervals")


class SweepSection(Section):
    """A product of overrides: each key a list of values."""

    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)


class Recipe(Section):
    """One experiment: one YAML file, one immutable object."""

    name: str = Field("", pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*)?$", description="the run's folder; empty: the recipe file's name")
    runs: str = Field("runs", description="the folder that holds the runs")
    seed: NonNegativeInt = 0
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    adapter: Annotated[Method, METHODS] = Lora()
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    export: Annotated[Exporter, EXPORTERS] = Merged()
    sweep: SweepSection = Field(default_factory=SweepSection)
