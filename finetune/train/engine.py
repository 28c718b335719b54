"""transformers' Trainer on packed rows: our dozen settings mapped onto its hundred, and the two things it does otherwise.

Why this engine and not TRL's: docs/decisions/002-training-engine.md. Shapes: B rows, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from finetune.data.collate import collate
from finetune.errors import TrainError
from finetune.model import autocast_dtype, on_cpu
from finetune.recipe import Recipe
from finetune.records import IGNORED
from finetune.train.checkpoints import full_disk_named

if TYPE_CHECKING:
    from datasets import Dataset

VALID_ROWS = 64  # rows are shuffled, so the first are a fair sample; all of 5 % of a big dataset would cost more than the training between
_OPTIMIZERS = {"adamw": "adamw_torch", "adamw_8bit": "adamw_bnb_8bit", "paged_adamw_8bit": "paged_adamw_8bit"}
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


class Rows(NamedTuple):
    """The packed rows of a build; `valid` is None when none was held out."""

    train: Dataset
    valid: Dataset | None


class RowTrainer(Trainer):
    """Trains on packed rows; held-out loss is per learnt token; a loss that is no number ends the training."""

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor | Any], num_items_in_batch: Tensor | int | None = None) -> Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            raise TrainError(
                f"step {self.state.global_step + 1}: the loss is {loss.item()}; the last checkpoint is from before it. "
                "Write a lower train.learning_rate or a longer train.warmup_steps (and model.dtype=bfloat16 in place of float16)"
            )
        return loss

    def evaluate(self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """The mean loss per learnt token over the held-out rows, all processes together.

        Trainer's own averages over batches, where a row with two learnt tokens weighs as much as a full one.
        """
        rows: Any = self.eval_dataset
        size, processes = self.args.per_device_eval_batch_size, self.args.world_size
        batches = [range(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
        totals = torch.zeros(2, dtype=torch.float64)
        for turn in range(math.ceil(len(batches) / processes)):
            index = turn * processes + self.args.process_index
            # Sharded models need every process in every pass: one without a batch of its own repeats the first and counts it as nothing.
            weight = float(index < len(batches))
            totals += weight * self._loss_and_learnt([rows[i] for i in batches[index if weight else 0]])
        if processes > 1:
            totals = self.accelerator.reduce(totals.float().to(self.args.device)).double().cpu()
        logs = {f"{metric_key_prefix}_loss": (totals[0] / totals[1]).item()}
        self.log(dict(logs))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, logs)
        return logs

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        with full_disk_named(Path(str(self.args.output_dir))):
            super()._save_checkpoint(model, trial)

    def _loss_and_learnt(self, rows: Sequence[Any]) -> Tensor:
        """The summed loss and the number of learnt tokens of some rows."""
        model = self.model_wrapped
        was_training = model.training
        model.eval()
        batch = {name: tensor.to(self.args.device) for name, tensor in collate(rows).items()}
        learnt = int((batch["labels"][:, 1:] != IGNORED).sum())
        with torch.no_grad():
            mean = float(model(**batch, use_cache=False).loss) if learnt else 0.0
        model.train(was_training)
        return torch.tensor([mean * learnt, learnt], dtype=torch.float64)


def make_trainer(recipe: Recipe, model: nn.Module, rows: Rows, *, staging: Path, fresh: bool) -> RowTrainer:
    """The trainer for a model with its adapter; checkpoints are written below `staging`.

    A `fresh` training begins with the loss of the base on the held-out rows.
    """
    from transformers.trainer_callback import PrinterCallback

    trainer = RowTrainer(
        model=model,
        args=arguments(recipe, staging, measured=rows.valid is not None, fresh=fresh),
        train_dataset=rows.train,
        eval_dataset=None if rows.valid is None else rows.valid.select(range(min(VALID_ROWS, len(rows.valid)))),
        data_collator=collate,
    )
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
