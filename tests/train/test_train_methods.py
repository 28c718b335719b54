"""Every method through the training step: it learns, stops and goes on as if it had not, and leaves an adapter that answers the same."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from test_train import train_until_stopped
from training_runs import Kept, Prepare, logged

from finetune.base import read_base
from finetune.data.collate import collate, collate_alone
from finetune.data.store import read_rows
from finetune.methods import METHODS, OfPeft, load_adapter
from finetune.model import load_model
from finetune.recipe import Recipe
from finetune.run import open_run
from finetune.train import train

# Of peft's other methods one: its layers share random matrices, which its file holds.
OFTEN = {"vera": ("adapter.r=16", "adapter.d_initial=1")}
OFFERED = [kind for kind, method in METHODS if not method.refused and (not issubclass(method, OfPeft) or kind in OFTEN)]
UNPACKED = [kind for kind in OFFERED if not METHODS[kind].packs]
SMALL = {"adapter_h": "adapter.size=8", "adapter_p": "adapter.size=8", "parallel": "adapter.size=8"}
SMALL |= dict.fromkeys(UNPACKED, "adapter.tokens=4")


def recipe_of(prepare: Prepare, kind: str, *overrides: str, name: str) -> Recipe:
    alone = ["data.packing=false"] if kind in UNPACKED else []
    exporting = [] if METHODS[kind].merges else ["export=adapter"]
    options = [SMALL[kind]] if kind in SMALL else [*OFTEN.get(kind, ())]
    return prepare(f"adapter={kind}", *options, *alone, *exporting, *overrides, name=name)


@pytest.mark.parametrize("kind", OFFERED)
def test_a_method_lowers_the_held_out_loss_and_its_adapter_gives_that_very_loss(prepare: Prepare, kind: str) -> None:
    recipe = recipe_of(prepare, kind, "train.max_steps=3", "train.learning_rate=2e-2", name="run")
    result = train(recipe)
    assert result.valid_loss is not None and result.valid_loss_before is not None
    assert result.valid_loss < result.valid_loss_before
    base, run = read_base(recipe.model), open_run(recipe)
    model = load_adapter(load_model(base, recipe.model), run.adapter)
    model.config.use_cache = False
    rows = read_rows(run.data / "valid").with_format("numpy")
    assert mean_loss(model, rows, packed=recipe.data.packing) == pytest.approx(result.valid_loss, abs=1e-5)


def mean_loss(model: torch.nn.Module, rows: Dataset, *, packed: bool) -> float:
    """Nats per learnt token, from the logits: peft's AdaLoRA gives no loss outside training."""
    batch = (collate if packed else collate_alone)(list(rows))
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = model(**batch).logits
    return float(torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()))


RESUMED = ("adalora", "adapter_h", "adapter_p", "full", "ia3", "ln_tuning", "lora nf4", "oft", "p_tuning", "parallel", "prefix", *OFTEN)


@pytest.mark.parametrize("way", RESUMED)
def test_a_stopped_training_ends_where_an_undisturbed_one_does(prepare: Prepare, way: str) -> None:
    kind, *bits = way.split()
    stopped_as_undisturbed(prepare, kind, "train.max_steps=9", *(f"model.quantization={each}" for each in bits), step=2)


def test_adalora_goes_on_with_the_ranks_that_it_has_settled_on(prepare: Prepare) -> None:
    """The last three of twelve steps take no rank away: what was taken is in the checkpoint alone."""
    stopped_as_undisturbed(prepare, "adalora", "train.max_steps=12", step=9)


def stopped_as_undisturbed(prepare: Prepare, kind: str, *settings: str, step: int) -> None:
    """A training that is told to stop once `step` is logged, and goes on, comes to the curve and the bytes of one that is not."""
    undisturbed = recipe_of(prepare, kind, *settings, name="undisturbed")
    stopped = recipe_of(prepare, kind, *settings, name="stopped")
    train(undisturbed)
    assert "stopped by SIGTERM after step" in train_until_stopped(stopped, step)
    before = Kept(open_run(stopped))
    train(stopped)
    before.require()
    expected, found = (open_run(recipe).adapter for recipe in (undisturbed, stopped))
    assert logged(found) == pytest.approx(logged(expected), abs=1e-6)
    weights = "adapter_model.safetensors"
    assert (found / weights).read_bytes() == (expected / weights).read_bytes()
