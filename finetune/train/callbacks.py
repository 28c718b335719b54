"""What happens around the steps: ranks are taken away, checkpoints sealed, losses logged and drawn."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.files import write_atomic
from finetune.methods import AdaLora
from finetune.recipe import Recipe
from finetune.run import peak_memory
from finetune.train.checkpoints import PREFIX, prune, seal
from finetune.train.held_out import best_step
from finetune.train.log import LogLine, Stopwatch, TrainLog, picture

PICTURE_EVERY = 60.0  # seconds: who looks at a curve looks again after minutes, and drawing one takes a third of a second


class AllocateRanks(TrainerCallback):
    """Lets AdaLoRA take ranks away, at the shares of the steps that the recipe names; without effect on other methods."""

    def __init__(self, model: Any, recipe: Recipe) -> None:
        self.tuner = model.base_model if isinstance(recipe.adapter, AdaLora) else None
        self.method = recipe.adapter

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.tuner is None or not isinstance(self.method, AdaLora):
            return
        config = self.tuner.peft_config[self.tuner.trainable_adapter_name]
        config.total_step = state.max_steps
        config.tinit, config.tfinal = (int(share * state.max_steps) for share in (self.method.warm_share, self.method.rest_share))

    def on_optimizer_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.tuner is not None and state.max_steps > 2:  # of one or two steps nothing can be learnt about ranks
            self.tuner.update_and_allocate(state.global_step + 1)


class SealCheckpoints(TrainerCallback):
    """Makes each checkpoint whole once every process has written its part of it."""

    def __init__(self, folder: Path, log: TrainLog, *, keep: int, keep_best: bool) -> None:
        self.folder = folder
        self.log = log
        self.keep = keep
        self.keep_best = keep_best

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        processes = PartialState()
        processes.wait_for_everyone()
        if processes.is_main_process:
            assert args.output_dir is not None
            self.log.flush()  # a checkpoint that outlives the power must not stand on a log that did not
            seal(Path(args.output_dir) / f"{PREFIX}{state.global_step}", self.folder)
            prune(self.folder, keep=self.keep, best=best_step(self.log.lines) if self.keep_best else None)
        processes.wait_for_everyone()


class WriteLog(TrainerCallback):
    """A line in the log for each loss that the trainer reports."""

    def __init__(self, log: TrainLog) -> None:
        self.log = log
        self.watch = Stopwatch(log.lines[-1].seconds if log.lines else 0.0)
        self._tokens = log.lines[-1].tokens if log.lines else 0

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.watch.step_begins()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.watch.step_ends()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not logs or not {"loss", "eval_loss"} & logs.keys():
            return
        tokens = int(state.num_input_tokens_seen)
        rate = None
        if "loss" in logs:
            rate = (tokens - self._tokens) / max(self.watch.lap(), 1e-9)
            self._tokens = tokens
        self.log.add(
            LogLine(
                step=state.global_step,
                loss=logs.get("loss"),
                valid_loss=logs.get("eval_loss"),
                learning_rate=logs.get("learning_rate"),
                gradient_norm=logs.get("grad_norm"),
                tokens=tokens,
                tokens_per_s=rate,
                seconds=self.watch.total(),
                memory_bytes=memory(),
            )
        )


class LogLastStep(TrainerCallback):
    """A loss in the log for the last step and for each that is measured, at which a training may end, wherever `log_every` falls."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if control.should_evaluate or state.global_step >= state.max_steps:
            control.should_log = True


class DrawCurve(TrainerCallback):
    """The curve so far as a picture beside the log, at most once in `every` seconds."""

    def __init__(self, log: TrainLog, path: Path, *, every: float = PICTURE_EVERY) -> None:
        self.log = log
        self.path = path
        self.every = every
        self._drawn = time.monotonic()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero and time.monotonic() - self._drawn >= self.every:
            self.draw()
            self._drawn = time.monotonic()

    def draw(self) -> None:
        """Write the picture of what was logged, if anything was."""
        if any(line.loss is not None for line in self.log.lines):
            write_atomic(self.path, picture(self.log.lines))


def memory() -> int:
    """The most memory so far, in bytes: the GPU's where there is one."""
    return torch.cuda.max_memory_allocated() if PartialState().device.type == "cuda" else peak_memory()
