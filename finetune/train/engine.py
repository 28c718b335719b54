"""transformers' Trainer on packed rows: our dozen settings mapped onto its hundred, and the two things it does otherwise.

Why this engine and not TRL's: docs/decisions/002-training-engine.md. Shapes: B rows, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.utils.data
from peft import PeftModel
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from finetune.data.collate import collate, collate_alone
from finetune.kernels import kernels, learnt_logits
from finetune.model import autocast_dtype, on_cpu
from finetune.recipe import Recipe, TrainSection
from finetune.records import IGNORED
from finetune.train.checkpoints import PREFIX, full_disk_named
from finetune.train.progress import (
    embeddings_left_out,
    is_more_than_its_file,
    load_progress,
    save_partial_loss,
    save_progress,
    without_penalty,
)
from finetune.train.watch import Pass, Watch

if TYPE_CHECKING:
    from datasets import Dataset

VALID_ROWS = 64  # rows are shuffled, so the first are a fair sample; all of 5 % of a big dataset would cost more than the training between
ROW = "row"  # the key of a row's number in a batch
_OPTIMIZERS = {"adamw": "adamw_torch", "adamw_8bit": "adamw_bnb_8bit", "paged_adamw_8bit": "paged_adamw_8bit"}
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


class Rows(NamedTuple):
    """The packed rows of a build; `valid` is None when none was held out."""

    train: Dataset
    valid: Dataset | None


class Numbered(torch.utils.data.Dataset[Mapping[str, Any]]):
    """Rows that know their number, so that a bad one can be named."""

    def __init__(self, rows: Dataset) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        return {**self.rows[number], ROW: number}


class RowTrainer(Trainer):
    """Trains on packed rows; held-out loss is per learnt token; a loss that is no number ends the training.

    `watch` sees every pass, once there is one. `interrupted` says whether to cut a measurement short; every process must ask.
    """

    watch: Watch | None = None
    section = TrainSection()
    interrupted: Callable[[], bool] | None = None

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor | Any], num_items_in_batch: Tensor | int | None = None) -> Tensor:
        numbers = inputs.pop(ROW, None)
        with self._kernels():
            loss = super().training_step(model, inputs, num_items_in_batch)
        if self.watch is not None:
            rows = () if numbers is None else tuple(numbers.tolist())
            learnt = int((inputs["labels"][:, 1:] != IGNORED).sum())
            own = loss.item() * self._parts_of_step(learnt, num_items_in_batch)
            self.watch.check(Pass(self.state.global_step + 1, rows, own))
        return loss

    def _kernels(self) -> AbstractContextManager[None]:
        """Our own parts of a pass; where a launcher holds weights in pieces, the one that needs no weight."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return learnt_logits(self.adapted)
        return kernels(self.adapted, cpu=on_cpu(), half=self.args.bf16 or self.args.fp16, checkpointing=self.section.gradient_checkpointing)

    def _parts_of_step(self, learnt: int, learnt_in_step: Tensor | int | None) -> float:
        """What a pass's share of the step's loss is multiplied by to be the mean of its own learnt tokens."""
        if learnt_in_step is None or not self.model_accepts_loss_kwargs:
            return float(self.current_gradient_accumulation_steps)
        return float(learnt_in_step) / max(learnt, 1) / int(self.accelerator.num_processes)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        parent: Any = super()
        norm = parent._get_grad_norm(model, grad_norm=grad_norm)
        if self.watch is not None and norm is not None and self.accelerator.scaler is None:  # a scaler steps over such gradients
            self.watch.check_gradient(self.state.global_step + 1, float(norm))
        return norm

    def evaluate(self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """The mean loss per learnt token over the held-out rows, all processes together.

        Trainer's own averages over batches, where a row with two learnt tokens weighs as much as a full one.
        Empty, and not logged, when it was cut short.
        """
        rows: Any = self.eval_dataset
        size, processes = self.args.per_device_eval_batch_size, self.args.world_size
        batches = [range(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
        totals = torch.zeros(2, dtype=torch.float64)
        logs: dict[str, float] = {}
        for turn in range(math.ceil(len(batches) / processes)):
            if self.interrupted is not None and self.interrupted():
                break
            index = turn * processes + self.args.process_index
            # Sharded models need every process in every pass: one without a batch of its own repeats the first and counts it as nothing.
            weight = float(index < len(batches))
            totals += weight * self._loss_and_learnt([rows[i] for i in batches[index if weight else 0]])
        else:
            if processes > 1:
                totals = self.accelerator.reduce(totals.float().to(self.args.device)).double().cpu()
            logs = {f"{metric_key_prefix}_loss": (totals[0] / totals[1]).item()}
            self.log(dict(logs))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, logs)
        return logs

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(str(self.args.output_dir))
        with full_disk_named(folder):
            super()._save_checkpoint(model, trial)
            save_partial_loss(self, folder / f"{PREFIX}{self.state.global_step}")

    @property
    def adapted(self) -> PeftModel:
        """The model, whose adapter trains."""
        assert isinstance(self.model, PeftModel)
        return self.model

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        with embeddings_left_out(self.adapted):
            super()._save(output_dir, state_dict)
        if self.args.should_save and is_more_than_its_file(self.adapted):
            save_progress(self.adapted, Path(str(output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if is_more_than_its_file(self.adapted):
            load_progress(self.adapted, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _loss_and_learnt(self, rows: Sequence[Any]) -> Tensor:
        """The summed loss and the number of learnt tokens of some rows.

        Rows without a learnt token go through the model too: processes exchange buffers in a pass, and wait for each other.
        """
        model = self.model_wrapped
        was_training = model.training
        model.eval()
        batch = {name: tensor.to(self.args.device) for name, tensor in self.data_collator([*rows]).items()}
        learnt = int((batch["labels"][:, 1:] != IGNORED).sum())
        with torch.no_grad(), without_penalty(self.adapted), self._kernels():
            mean = float(model(**batch, use_cache=False).loss)
        model.train(was_training)
        return torch.tensor([mean * learnt if learnt else 0.0, learnt], dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class _Collator:
    """A batch of rows, and their numbers where the rows have some."""

    plain: Callable[[Sequence[Mapping[str, Any]]], dict[str, Tensor]]

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        numbers = [row[ROW] for row in rows if ROW in row]
        return self.plain(rows) | ({ROW: torch.tensor(numbers)} if numbers else {})


def make_trainer(recipe: Recipe, model: nn.Module, rows: Rows, *, staging: Path, fresh: bool) -> RowTrainer:
    """The trainer for a model with its adapter; checkpoints are written below `staging`.

    A `fresh` training begins with the loss of the base on the held-out rows.
    """
    from transformers.trainer_callback import PrinterCallback

    trainer = RowTrainer(
        model=model,
        args=arguments(recipe, staging, measured=rows.valid is not None, fresh=fresh),
        train_dataset=Numbered(rows.train),
        eval_dataset=None if rows.valid is None else rows.valid.select(range(min(VALID_ROWS, len(rows.valid)))),
        data_collator=_Collator(collate if recipe.data.packing else collate_alone),
    )
    trainer.section = recipe.train
    trainer.remove_callback(PrinterCallback)  # it prints every log line on standard output
    return trainer


def gathered(trainer: RowTrainer) -> dict[str, Tensor] | None:
    """The model's state when a launcher has spread it over processes, else None. Every process must call this."""
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return None
    state: dict[str, Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return state


def arguments(recipe: Recipe, staging: Path, *, measured: bool, fresh: bool) -> TrainingArguments:
    """The recipe's settings as Trainer knows them."""
    section, cpu = recipe.train, on_cpu()
    autocast = autocast_dtype(recipe.model)
    made = TrainingArguments(
        output_dir=str(staging),
        learning_rate=section.learning_rate,
        lr_scheduler_type=_SCHEDULES[section.schedule],
        warmup_steps=section.warmup_steps,
        weight_decay=section.weight_decay,
        max_grad_norm=section.max_grad_norm,
        optim=_OPTIMIZERS["adamw_8bit" if cpu and section.optimizer == "paged_adamw_8bit" else section.optimizer],  # no pages on a CPU
        per_device_train_batch_size=section.batch_size,
        per_device_eval_batch_size=section.batch_size,
        gradient_accumulation_steps=section.accumulation,
        num_train_epochs=section.epochs,
        max_steps=section.max_steps or -1,
        activation_checkpointing=section.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        bf16=autocast == torch.bfloat16,
        fp16=autocast == torch.float16,
        use_cpu=cpu,
        dataloader_pin_memory=not cpu,
        seed=recipe.seed,
        data_seed=recipe.seed,
        eval_strategy="steps" if measured else "no",
        eval_steps=section.eval_every,
        eval_on_start=measured and fresh,
        save_steps=section.save_every,
        logging_steps=section.log_every,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="all",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        report_to="none",
    )
    if made.world_size == 1:
        made._n_gpu = min(made.n_gpu, 1)  # several GPUs are for a launcher: DataParallel would copy a quantised model at each step
    return made
