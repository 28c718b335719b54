"""What a checkpoint must hold beside what transformers and peft put there.

peft's adapter file is for some methods only what is needed to answer.
P-tuning's file holds the virtual tokens, not the network that makes them; AdaLoRA's lacks the importance of ranks so far, and the
ranks that were taken away. Going on from those files alone would be another training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from finetune.errors import TrainError
from finetune.files import write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import Trainer

STATE = "trained.pt"
_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


def is_more_than_its_file(model: PeftModel) -> bool:
    """Whether peft's file of the active adapter leaves something out that training needs."""
    config = model.active_peft_config
    return bool(config.is_prompt_learning) or config.peft_type == "ADALORA"


def save_progress(model: PeftModel, folder: Path) -> None:
    """Everything that is trained, under its name in the model, and AdaLoRA's view of the ranks."""
    state: dict[str, Any] = {"weights": {name: weight.detach().cpu() for name, weight in model.named_parameters() if weight.requires_grad}}
    if model.active_peft_config.peft_type == "ADALORA":
        allocator = model.base_model.rankallocator
        state["ranks"] = model.active_peft_config.rank_pattern
        state["averages"] = {part: dict(getattr(allocator, part)) for part in _AVERAGES}
    torch.save(state, folder / STATE)


def load_progress(model: PeftModel, folder: Path) -> None:
    """Put back what `save_progress` wrote. Raises TrainError for a checkpoint of another form."""
    state = torch.load(folder / STATE, map_location=next(model.parameters()).device, weights_only=True)
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if weights.keys() != state["weights"].keys():
        raise TrainError(f"{folder}: holds other trained tensors than this recipe makes; remove the folder to start anew")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(state["weights"][name])
    if "averages" in state:
        model.active_peft_config.rank_pattern = state["ranks"]
        for part, values in state["averages"].items():
            setattr(model.base_model.rankallocator, part, values)


@contextmanager
def embeddings_left_out(model: PeftModel) -> Iterator[None]:
    """Within the block an adapter is saved alone: peft would put both embeddings of a model with added tokens into each checkpoint."""
    model.save_pretrained = partial(model.save_pretrained, save_embedding_layers=False)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.save_pretrained


@contextmanager
def without_penalty(model: PeftModel) -> Iterator[None]:
    """Within the block the loss is that of the tokens: AdaLoRA adds a penalty of its own, which is for training alone."""
    config = model.active_peft_config
    if config.peft_type != "ADALORA":
        yield
        return
    weight, config.orth_reg_weight = config.orth_reg_weight, 0.0
    try:
        yield
    finally:
        config.orth_reg_weight = weight


def save_partial_loss(trainer: Trainer, folder: Path) -> None:
    """The losses since the last log line, of this process: where lines stand for several steps, a line may be half full."""
    since: dict[str, float] = {"loss": trainer._tr_loss.item(), "since": trainer._globalstep_last_logged}
    write_json(folder / _partial_name(trainer), since)


def load_partial_loss(trainer: Trainer, folder: Path) -> None:
    """Put back what `save_partial_loss` wrote; after the trainer has begun, which sets it to nothing."""
    since = json.loads((folder / _partial_name(trainer)).read_text(encoding="utf-8"))
    trainer._tr_loss.fill_(since["loss"])
    trainer._globalstep_last_logged = since["since"]


def _partial_name(trainer: Trainer) -> str:
    return f"loss_{trainer.args.process_index}.json"
