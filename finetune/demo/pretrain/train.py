"""Pretraining by the clock: warm-up, a stable rate, then a linear decay to zero that ends when the minutes are over.

Matrices of the blocks learn with Muon, everything else with AdamW. Rows are short while the rate is stable and long while it decays.
One process a core, each with half of every batch, meets the other once a step: threads of one process meet at every operator, and one
core that is taken away for a moment then stops the other.
Shapes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from transformers import Starcoder2Config, Starcoder2ForCausalLM

from finetune.demo.pretrain.attention import register
from finetune.demo.pretrain.tokenizer import CONTEXT, END, FIM_MIDDLE, FIM_PAD, FIM_PREFIX, THETA

FIXED = {
    "max_position_embeddings": CONTEXT,
    "sliding_window": None,
    "rope_theta": THETA,
    "tie_word_embeddings": True,
    "use_bias": True,
    "bos_token_id": END,
    "eos_token_id": END,
    "pad_token_id": FIM_PAD,
    "residual_dropout": 0.0,
    "embedding_dropout": 0.0,
    "attention_dropout": 0.0,
}
Step = Callable[[Tensor, Tensor], Tensor]
Learn = Literal["all", "answers"]


class Schedule(NamedTuple):
    """Rates and sizes of one run."""

    minutes: float
    warmup_steps: int
    decay: float  # last share of the minutes
    tokens_per_step: int
    muon_rate: float
    adam_rate: float
    weight_decay: float
    clip: float
    seed: int


class Progress:
    """What a checkpoint keeps beside weights: steps, tokens and seconds so far."""

    def __init__(self) -> None:
        self.step, self.tokens, self.seconds = 0, 0, 0.0


def new_model(shape: dict[str, int], seed: int) -> Starcoder2ForCausalLM:
    """A StarCoder2 with random weights; `shape` holds what differs between sizes."""
    torch.manual_seed(seed)
    config = Starcoder2Config.from_dict({**FIXED, **shape})
    model = Starcoder2ForCausalLM(config)
    model.set_attn_implementation(register())
    return model


def rate(schedule: Schedule, step: int, spent: float) -> float:
    """Multiplier of both learning rates at a step, when `spent` (0..1) of the minutes are over."""
    warm = min(1.0, (step + 1) / schedule.warmup_steps)
    left = (1.0 - spent) / schedule.decay
    return max(0.0, min(warm, left))


def optimizers(model: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, norms and biases."""
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim == 2 and "embed" not in name and "lm_head" not in name]
    ids = set(map(id, matrices))
    others = [weight for _, weight in named if id(weight) not in ids]
    muon = torch.optim.Muon(matrices, lr=schedule.muon_rate, momentum=0.95, weight_decay=schedule.weight_decay)
    adam = torch.optim.AdamW(others, lr=schedule.adam_rate, betas=(0.9, 0.95), weight_decay=0.0)
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["full_rate"] = group["lr"]
    return [muon, adam]


def loss_of(model: Starcoder2ForCausalLM, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean nats per token over the targets that are no padding; pad is a token of its own, so no real token is hidden by it."""
    hidden_BTH = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
    logits_BTV = model.lm_head(hidden_BTH)
    return nn.functional.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), ignore_index=FIM_PAD)


def targets(ids_BT: Tensor, learn: Learn) -> Tensor:
    """The next token at each place; "answers" leaves out what stands between <fim_prefix> and <fim_middle>, the question of a hole."""
    learnt_BT = ids_BT
    if learn == "answers":
        question_BT = (ids_BT == FIM_PREFIX).cumsum(1) > (ids_BT == FIM_MIDDLE).cumsum(1)
        learnt_BT = ids_BT.masked_fill(question_BT, FIM_PAD)
    # The last token has nothing to foretell; it stays in so that lengths stay a multiple of 128, which the products like.
    return nn.functional.pad(learnt_BT[:, 1:], (0, 1), value=FIM_PAD)


def batches(rows: np.ndarray, tokens: int, *, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Batches of about `tokens` tokens in random order, for ever; `start` batches are skipped."""
    size = max(tokens // rows.shape[1], 1)
    per_epoch = len(rows) // size
    number = start
    while True:
        order = np.random.default_rng([seed, number // per_epoch]).permutation(len(rows))
        for at in range(number % per_epoch, per_epoch):
            yield torch.from_numpy(rows[np.sort(order[at * size : (at + 1) * size])].astype(np.int64))
            number += 1


class Run:
    """One training run in a folder: weights.pt (newest complete checkpoint) and metrics.jsonl."""

    def __init__(self, model: Starcoder2ForCausalLM, schedule: Schedule, folder: Path, *, learn: Learn = "all") -> None:
        self.learn = learn
        self.model, self.schedule, self.folder = model, schedule, folder
        self.optimizers = optimizers(model, schedule)
        self.progress = Progress()
        self.stopped = False
        self.forward: Step = torch.compile(lambda *batch: loss_of(model, *batch), dynamic=False)
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self) -> None:
        """Goes on where the folder's checkpoint ended; a new folder starts at step 0."""
        path = self.folder / "weights.pt"
        if path.exists():
            state = torch.load(path)
            self.model.load_state_dict(state["model"])
            for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
            self.progress.__dict__.update(state["progress"])

    def save(self) -> None:
        """A whole checkpoint or none: written beside, then renamed."""
        if dist.get_rank():
            return
        partial = self.folder / "weights.partial"
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        torch.save({"model": self.model.state_dict(), "optimizers": optimizers, "progress": vars(self.progress)}, partial)
        partial.rename(self.folder / "weights.pt")

    def train(self, stable: np.ndarray, final: np.ndarray, valid: np.ndarray) -> None:
        """Steps until the minutes are over or a SIGTERM asks to stop; either way a checkpoint is left."""
        signal.signal(signal.SIGTERM, self._stop)
        schedule, progress = self.schedule, self.progress
        streams = [batches(rows, schedule.tokens_per_step, seed=schedule.seed, start=progress.step) for rows in (stable, final)]
        while self._goes_on():
            started = time.monotonic()
            spent = progress.seconds / (60 * schedule.minutes)
            ids_BT = next(streams[spent >= 1 - schedule.decay])
            multiplier = rate(schedule, progress.step, spent)
            loss = self._step(ids_BT[dist.get_rank() :: dist.get_world_size()], multiplier)
            progress.step += 1
            progress.tokens += int((ids_BT != FIM_PAD).sum())
            progress.seconds += time.monotonic() - started
            self._note(loss, multiplier, valid)
        self.save()

    def _step(self, ids_BT: Tensor, multiplier: float) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.forward(ids_BT, targets(ids_BT, self.learn))
        torch.autograd.backward(loss)
        self._average_gradients()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["full_rate"] * multiplier
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def _goes_on(self) -> bool:
        """Whether there is time for a step; the first process's clock and signal hold for all."""
        word = torch.tensor([self.progress.seconds, float(self.stopped)], dtype=torch.float64)
        dist.broadcast(word, src=0)
        self.progress.seconds = word[0].item()
        return not word[1] and self.progress.seconds < 60 * self.schedule.minutes

    def _average_gradients(self) -> None:
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        flat = parameters_to_vector(gradients)
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for gradient, part in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _note(self, loss: float, multiplier: float, valid: np.ndarray) -> None:
        progress = self.progress
        if progress.step % 20 or dist.get_rank():
            return
        line = {**vars(progress), "loss": round(loss, 4), "rate": round(multiplier, 4)}
        if progress.step % 200 == 0:
            line["valid"] = round(self.valid_loss(valid), 4)
            self.save()
        with (self.folder / "metrics.jsonl").open("a") as lines:
            lines.write(json.dumps(line) + "\n")

    @torch.no_grad()
    def valid_loss(self, valid: np.ndarray) -> float:
        """Mean loss over a few held-out rows, without compiling again."""
        losses = []
        for ids_BT in torch.split(torch.from_numpy(valid.astype(np.int64)), 8):
            with torch.autocast("cpu", torch.bfloat16):
                losses.append(loss_of(self.model, ids_BT, targets(ids_BT, self.learn)).item())
        return sum(losses) / len(losses)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopped = True
