"""A training that can not fit is refused by `train` itself, before the base is loaded, and one that just fits is not."""

from __future__ import annotations

import os

import pytest
import torch
from training_runs import Prepare
from transformers import PreTrainedModel

from finetune.base import BaseFolder, read_base
from finetune.errors import TrainError
from finetune.plan.growth import Growth
from finetune.plan.limits import LIBRARIES, here
from finetune.recipe import ModelSection, Recipe
from finetune.train import train

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")


class Loaded(Exception):
    """The base was asked for."""


def no_base(base: BaseFolder, section: ModelSection) -> PreTrainedModel:
    raise Loaded


def needed(recipe: Recipe) -> int:
    """Bytes of one process's step, by the count that plan shows."""
    found = Growth(read_base(recipe.model), recipe, here()).only(recipe.train.batch_size, recipe.data.row_length)
    return found.highest.size + LIBRARIES


def with_memory(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A machine of so many bytes: pages of one byte."""
    real = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": size}.get(name) or real(name))


@pytest.mark.parametrize("processes", [1, 2])
def test_one_byte_too_few_is_refused_before_the_base_is_loaded_and_enough_is_enough(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """Processes on one CPU share its memory."""
    recipe = prepare()
    size = needed(recipe) * processes
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    with_memory(monkeypatch, size - 1)
    with pytest.raises(TrainError, match=r"this training needs about [01]\.\d GiB"):
        train(recipe, load=no_base)
    with pytest.raises(Loaded):
        train(recipe.model_copy(update={"train": recipe.train.model_copy(update={"fit": "ignore"})}), load=no_base)
    monkeypatch.undo()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    with_memory(monkeypatch, size)
    with pytest.raises(Loaded):
        train(recipe, load=no_base)
