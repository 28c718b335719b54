"""What a format is, and what it is told of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from finetune.data.exports.reading import Tokens
from finetune.data.exports.told import Told
from finetune.registry import Plugin, Registry

TRAIN, VALID = "train.jsonl", "valid.jsonl"


@dataclass(frozen=True, slots=True)
class LowRank:
    """A LoRA as every trainer knows it; `targets` are names of linear layers."""

    r: int
    alpha: int
    dropout: float
    targets: tuple[str, ...]
    rslora: bool
    dora: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """A recipe's choices in words that other trainers have as well; `folder` is where the export will lie, `output` where they may write.

    `adapter` None: every weight is trained. `end` is the token that ends a sample.
    """

    name: str
    folder: Path
    output: Path
    base: Path
    end: str
    seed: int
    adapter: LowRank | None
    bits: int | None
    row_length: int
    packing: bool
    learn_all: bool
    learning_rate: float
    schedule: str
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float
    batch_size: int
    accumulation: int
    epochs: float
    max_steps: int | None
    gradient_checkpointing: bool
    eval_every: int
    save_every: int
    keep_checkpoints: int
    log_every: int


class Format(Plugin):
    """Writes samples as another trainer reads them. `title` is the trainer's name, `command` starts it."""

    title: ClassVar[str]
    command: ClassVar[str] = ""

    def line(self, told: Told) -> Mapping[str, Any] | str:
        """The sample as a line of JSON, or the reason why it can not be told there."""
        raise NotImplementedError

    def reads(self, line: Mapping[str, Any]) -> Tokens | list[int]:
        """What the trainer makes of a line: the texts that it tokenises apart, or the ids it is given."""
        raise NotImplementedError

    def files(self, setting: Setting) -> dict[str, str]:
        """The configuration, by file name."""
        raise NotImplementedError

    def notes(self) -> str:
        """What its users must know, for README.md."""
        raise NotImplementedError


FORMATS: Registry[Format] = Registry("format", Format)


def as_yaml(values: Mapping[str, Any], *, head: str) -> str:
    """The configuration as YAML behind a comment; what is None is left to the trainer."""
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    return comment + yaml.safe_dump({key: value for key, value in values.items() if value is not None}, sort_keys=False)


def lora_values(setting: Setting, *, r: str, alpha: str, dropout: str, targets: str) -> dict[str, Any]:
    """The LoRA under the trainer's names."""
    adapter = setting.adapter
    return {} if adapter is None else {r: adapter.r, alpha: adapter.alpha, dropout: adapter.dropout, targets: [*adapter.targets]}


def training_values(setting: Setting, **renamed: str) -> dict[str, Any]:
    """The optimiser's course under transformers' names, but for those that the trainer calls otherwise."""
    values = {
        "learning_rate": setting.learning_rate,
        "lr_scheduler_type": setting.schedule,
        "warmup_steps": setting.warmup_steps,
        "weight_decay": setting.weight_decay,
        "max_grad_norm": setting.max_grad_norm,
        "per_device_train_batch_size": setting.batch_size,
        "gradient_accumulation_steps": setting.accumulation,
        "num_train_epochs": setting.epochs,
        "max_steps": setting.max_steps,
        "gradient_checkpointing": setting.gradient_checkpointing,
        "eval_steps": setting.eval_every,
        "save_steps": setting.save_every,
        "save_total_limit": setting.keep_checkpoints,
        "logging_steps": setting.log_every,
        "seed": setting.seed,
        "output_dir": str(setting.output),
    }
    return {renamed.get(name, name): value for name, value in values.items()}
