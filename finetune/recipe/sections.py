"""The sections of a recipe: one frozen class per stage, the only place where defaults live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from finetune.data.dates import as_written, checked_moment
from finetune.data.exports import FORMATS, Format
from finetune.data.filters import FILTERS, Filter, default_filters
from finetune.data.miners import MINERS, Miner
from finetune.data.miners.commits import Commits
from finetune.data.miners.known import Fim
from finetune.data.miners.notebooks import Notebooks
from finetune.data.policy import Licences
from finetune.exporters import EXPORTERS, AdapterOnly, Exporter, Merged
from finetune.families import NAMES
from finetune.files import of_user
from finetune.methods import METHODS, Lora, Method
from finetune.metrics import METRICS, Metric, default_metrics
from finetune.registry import OneOrMore, Written

Share = Annotated[float, Field(ge=0, le=1)]
Moment = Annotated[str, BeforeValidator(as_written), AfterValidator(checked_moment)]
TrackerName = Literal["tensorboard", "wandb", "trackio", "mlflow"]
HoleKind = Literal["line", "span", "block", "expression", "arguments", "body"]
if TYPE_CHECKING:
    FamilyName: TypeAlias = str
else:
    FamilyName = Literal[("auto", *NAMES)]  # the table's rows, which no type checker can read


def _written(path: str) -> str:
    try:
        if b"\0" in path.encode():
            raise ValueError("a path without a NUL character")
    except UnicodeEncodeError as error:
        raise ValueError("a path in characters that can be written") from error
    return path


def _filled(path: str) -> str:
    if not path.strip() or (path.endswith("=") and not of_user(path).exists()):
        raise ValueError("a path; . is the folder you are in")
    return path


def _of_user(path: str) -> str:
    return str(of_user(path)) if path.startswith("~") else path


Place = Annotated[str, AfterValidator(_written)]
Input = Annotated[Place, AfterValidator(_filled)]  # "" would be the folder one happens to be in


class Section(Written):
    """A part of a recipe."""


class ModelSection(Section):
    """The base model."""

    path: Place = Field("demo", description="a folder, a hub id already in the local cache, or demo: the embedded model")
    revision: str | None = Field(None, description="commit or tag, for a hub id")
    family: FamilyName = "auto"
    add_fim_tokens: bool = Field(False, description="for a base without fill-in-the-middle tokens: add some, and train their embeddings")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 where the hardware multiplies in it, else float32"
    )
    quantization: Literal["none", "nf4", "int8"] = "none"
    double_quant: bool = Field(True, description="quantise nf4's scales as well: 0.37 bit a weight less (QLoRA, arXiv 2305.14314)")


class RedactionSection(Section):
    """Secrets and personal data; always on, this only tunes it."""

    allow: tuple[str, ...] = Field((), description="values that are no secret here: documented examples, test keys")
    model: Input | None = Field(None, description="folder of a token-classification model (StarPII or its like), asked beside the rules")


class NearDuplicatesSection(Section):
    """Files that are nearly the same as another one. None is ever on the other side of the split, this switched off or not."""

    enabled: bool = Field(True, description="false: near-duplicates stay on their side; exact copies never do")
    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        0.7, description="Jaccard similarity of the sets of five words in a row; a higher one holds within a side alone"
    )

    @property
    def across(self) -> float:
        """The similarity that no text has with one of the other side. It only falls: a side may hold more copies, never the other's."""
        usual: float = type(self).model_fields["threshold"].default
        return min(self.threshold, usual)


class BenchmarkSection(Section):
    """A benchmark whose texts are kept out of the data."""

    path: Input = Field(description="a JSONL file (.json, .gz too), or a folder of them")
    fields: tuple[str, ...] = Field((), description="the fields whose texts count; empty: every one")
    min_characters: Annotated[int, Field(ge=8)] = Field(40, description="shorter texts, white space not counted, are nobody's own")

    @model_validator(mode="before")
    @classmethod
    def _of_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class SplitSection(Section):
    """What is held out: by a hash of the path, or of the repository, or by date."""

    by: Literal["path", "repository", "date"] = "path"
    date: Moment | None = Field(None, description="by=date: valid is what was committed from this day or moment on")

    @model_validator(mode="after")
    def _date_for_date_alone(self) -> SplitSection:
        if (self.by == "date") != (self.date is not None):
            raise ValueError("by=date together with date, for example {by: date, date: 2026-01-31}")
        return self


class DataSection(Section):
    """From repositories to packed rows."""

    repositories: tuple[Input, ...] = Field((), description="paths of git repositories, work trees or bare; * and ** stand for many")
    ref: str = Field("HEAD", description="the commit to read, for each repository")
    at: Moment | None = Field(None, description="read ref as it was at the end of this day (2026-01-31) or at this moment")
    history: NonNegativeInt | None = Field(None, description="at most so many commits, newest first; empty: all")
    since: Moment | None = Field(None, description="commits from this day or moment on; empty: all")
    include: tuple[str, ...] = Field((), description="only these paths, as in .gitignore; empty: all")
    exclude: tuple[str, ...] = Field((), description="not these paths, as in .gitignore")
    opt_out: tuple[Input, ...] = Field((), description="text files that list owners, repositories, paths and authors to leave out")
    languages: tuple[str, ...] = Field((), description="only these languages; empty: every one known")
    filters: tuple[Annotated[Filter, FILTERS], ...] = default_filters()
    licences: Licences = Licences()
    redaction: RedactionSection = RedactionSection()
    decontaminate: tuple[BenchmarkSection, ...] = Field((), description="benchmarks to keep out: paths of JSONL files or folders")
    near_duplicates: NearDuplicatesSection = NearDuplicatesSection()
    split: SplitSection = SplitSection()
    miners: tuple[Annotated[Miner, MINERS], ...] = (Fim(), Notebooks(), Commits())
    valid_share: Share = Field(0.1, description="share of files, or of repositories, held out by the split's hash")
    learn: Literal["all", "answer"] = Field("all", description="answer: only the middle, or the answer, is learnt")
    row_length: PositiveInt = Field(2048, description="tokens in a packed row")
    packing: bool = Field(True, description="several samples in a row; false: one, padded in its batch, which prompt learning needs")
    processes: PositiveInt = Field(1, description="that work at once on the shards of a build; changes nothing in what comes out")
    shard_mb: PositiveFloat = Field(256, description="megabytes of files that are worked on, and taken up after a kill, together")
    exports: tuple[Annotated[Format, FORMATS], ...] = Field((), description="for other trainers: trl, axolotl, llamafactory, messages")


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
    fit: Literal["check", "ignore"] = Field("check", description="ignore: train even where the plan says it can not fit")
    eval_every: PositiveInt = Field(50, description="optimizer steps between losses on held-out rows")
    save_every: PositiveInt = Field(50, description="optimizer steps between checkpoints")
    keep_checkpoints: PositiveInt = 2
    log_every: PositiveInt = 1
    early_stopping: PositiveInt | None = Field(
        None, description="stop after so many losses on held-out rows without a new lowest; the best step is kept; empty: never"
    )
    keep_best: bool = Field(False, description="the adapter is that of the lowest loss on held-out rows, not of the last step")
    spike: Annotated[float, Field(gt=1)] | None = Field(
        3.0, description="stop when the loss stays above so many times its usual, the median of 32 steps; empty: never"
    )
    report_to: tuple[TrackerName, ...] = Field((), description="trackers, beside metrics.jsonl and the plots; all stay on this machine")


class EvaluateSection(Section):
    """How base and tuned are measured on the held-out files."""

    holes: tuple[HoleKind, ...] = ("line", "span", "block")
    items: PositiveInt = Field(100, description="holes of each kind")
    metrics: tuple[Annotated[Metric, METRICS], ...] = Field(default_factory=default_metrics)
    max_new_tokens: PositiveInt = 96
    batch_size: PositiveInt = Field(8, description="prompts answered at once, each by base and tuned")
    resamples: PositiveInt = Field(2000, description="bootstrap resamples for the intervals")


class ValuesSection(Section):
    """What a key of a search may be: a list of choices, or a range {low: 1e-5, high: 1e-2, log: true}."""

    choices: tuple[Any, ...] = ()
    low: int | float | None = None
    high: int | float | None = Field(None, description="with low: a range; of whole numbers when both are whole")
    log: bool = Field(False, description="equal factors are equally likely")
    step: PositiveInt | PositiveFloat | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_choices(cls, value: Any) -> Any:
        return {"choices": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _choices_or_range(self) -> ValuesSection:
        if self.choices and self.low is None and self.high is None and not self.log and self.step is None:
            return self
        if self.choices or self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("a list of choices, or {low: LOW, high: HIGH} with LOW below HIGH")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log=true with low above 0 and without step")
        return self


class SearchSection(Section):
    """Optuna chooses the overrides: each trial learns from those before it."""

    trials: PositiveInt = Field(20, description="runs in all, by however many processes share the study")
    space: dict[str, ValuesSection] = Field(default_factory=dict, description="per key its choices or its range")
    metric: str = Field("valid_loss", description="valid_loss, or the kind of a metric of evaluate")
    direction: Literal["auto", "minimize", "maximize"] = Field("auto", description="auto: the metric's own")
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["none", "median", "halving", "hyperband"] = Field("median", description="who ends a run by its held-out losses")
    spared_trials: NonNegativeInt = Field(4, description="pruner=median: so many whole trials come first")
    spared_steps: NonNegativeInt = Field(0, description="pruner=median: no run ends before this optimizer step")


class SweepSection(Section):
    """Runs of one recipe, by one of: a product of overrides, a list of them, a search."""

    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict, description="per key its values; every combination is a run")
    runs: tuple[dict[str, Any], ...] = Field((), description="overrides that belong together, a run each")
    search: SearchSection | None = None
    storage: str = Field(
        "", description="the study's database, a URL or $NAME of a variable that holds it; empty: SQLite in the sweep's folder"
    )
    misfits: Literal["refuse", "row"] = Field("refuse", description="row: a run that can not fit is a row with its error; the others run")

    @model_validator(mode="after")
    def _one_kind(self) -> SweepSection:
        found = [name for name in ("grid", "runs", "search") if getattr(self, name)]
        if len(found) > 1:
            raise ValueError(f"one of {' and '.join(found)}; put the other back with sweep.{found[0]}={{}}")
        return self


def _default_export(before: dict[str, Any]) -> tuple[Exporter, ...]:
    """By the method, which pydantic has read before; none when it was at fault."""
    method = before.get("adapter")
    return (Merged(),) if method is None or method.merges else (AdapterOnly(),)


class Recipe(Section):
    """One experiment: one YAML file, one immutable object."""

    name: str = Field("", pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*)?$", description="the run's folder; empty: the recipe file's name")
    runs: Annotated[Place, AfterValidator(_of_user)] = Field("runs", description="the folder that holds the runs")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    adapter: Annotated[Method, METHODS] = Lora()
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    export: Annotated[tuple[Exporter, ...], OneOrMore(EXPORTERS)] = Field(
        default_factory=_default_export, description="one form or a list of them; adapter for a method that can not be merged"
    )
    sweep: SweepSection = Field(default_factory=SweepSection)
