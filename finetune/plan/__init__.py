"""Will it fit, and how much work is it: a training step of the real model on fake tensors, before any weight is loaded.

    config.json -> the model's own classes, quantised, with the adapter, on the meta device     stand_in
                -> forward, loss, backward, optimizer on fake tensors, every storage counted     rehearsal, counter
                -> any number of rows, tokens and blocks                                         growth
                -> what fits, what to write                                                      fit

Needs a folder with config.json and tokenizer, no weights and no GPU. What can not be counted is assumed and said (limits).
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from finetune.base import BaseFolder, read_base
from finetune.errors import TrainError
from finetune.methods import Coverage, coverage
from finetune.plan.counter import Part
from finetune.plan.fit import LONGEST, Proposer, fit
from finetune.plan.growth import At, Growth
from finetune.plan.limits import CARDS, GIB, Device, card, formats, here, spread
from finetune.plan.rate import Rate, hours, planned_steps
from finetune.plan.result import Fit, Hours, Plan, Proposal, Term
from finetune.plan.show import NAMES, as_json, table, terms
from finetune.plan.stand_in import on_meta
from finetune.quiet import known_warnings_off, quiet_libraries
from finetune.recipe import Recipe
from finetune.run import run_of

__all__ = ["Fit", "Hours", "Plan", "Proposal", "Rate", "Term", "as_json", "plan", "planned", "planned_steps", "require_fit", "table"]

NO_RATE = Rate()


def plan(recipe: Recipe, *, gpu: str | None = None, rate: Rate = NO_RATE) -> Plan:
    """The plan for one process, on this machine's device or on a GPU of a stated size such as 24GiB."""
    quiet_libraries()
    base = read_base(recipe.model)
    device = here() if gpu is None else card(gpu)
    whole = _whole(base, recipe, device)
    growth = _growth(base, recipe, device, whole)
    rows, row_length = recipe.train.batch_size, recipe.data.row_length
    at = growth.at(rows, row_length)
    run = run_of(recipe)
    steps = planned_steps(recipe, run)
    tokens_per_step = rows * recipe.train.accumulation * row_length
    tokens = None if steps is None else steps * tokens_per_step
    work_per_token = at.flops / (rows * row_length)
    cards = tuple(Device(gpu=True, size=each * GIB) for each in CARDS) if gpu is None else (device,)
    on_gpu = growth if device.gpu else _growth(base, recipe, cards[0], whole)
    proposer = Proposer(base, recipe)
    return Plan(
        device=device,
        terms=terms(at.highest, device, recipe, whole.coverage),
        moments=tuple((NAMES[moment.stage], moment.size) for moment in at.moments),
        highest=NAMES[at.highest.stage],
        trainable=whole.coverage.trainable,
        total=whole.coverage.total,
        share=whole.coverage.share,
        tokens_per_step=tokens_per_step,
        steps=steps,
        tokens=tokens,
        work_per_token=work_per_token,
        hours=hours(tokens, work_per_token, run, rate),
        fits=tuple(fit(on_gpu, recipe, each, longest=base.context_length or LONGEST) for each in cards),
        proposals=tuple(found for each in cards if (found := proposer.propose(each)) is not None),
    )


def planned(recipe: Recipe, device: Device) -> At:
    """The highest moments of a recipe's step on a device, without what is assumed."""
    base = read_base(recipe.model)
    growth = _growth(base, recipe, device, _whole(base, recipe, device))
    return growth.at(recipe.train.batch_size, recipe.data.row_length)


def require_fit(base: BaseFolder, recipe: Recipe) -> None:
    """Raises TrainError, before anything is loaded, when this machine's device can not hold the training though it were empty.

    Of a model that a launcher spreads over processes the need of one is not known, and nothing is refused.
    """
    if recipe.train.fit == "ignore" or spread():
        return
    device = here()
    assert device.size is not None and device.room is not None
    processes = 1 if device.gpu else int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # on a CPU they share the memory
    growth = Growth(base, recipe, device)
    at = growth.only(recipe.train.batch_size, recipe.data.row_length)
    size = (at.highest.size + device.context) * processes
    if size <= device.room:
        return
    room = Device(gpu=device.gpu, size=device.size // processes)
    found = Proposer(base, recipe, gpu=device.gpu).propose(room)
    cure = (
        "no settings of this model fit here; write model.path of a smaller one" if found is None else f"write {' '.join(found.overrides)}"
    )
    alone = ", a little of it kept free" if device.gpu else "; torch finds no GPU here, `finetune doctor` says why"
    raise TrainError(
        f"{base.name}: this training needs about {size / GIB:.1f} GiB and {device.name} can not hold it{alone}; {cure}, "
        "look at `finetune plan`, or write train.fit=ignore to try all the same"
    )


class _Whole(NamedTuple):
    """What is counted on the whole model: coverage, and the bytes of what trains."""

    coverage: Coverage
    trained: int


def _whole(base: BaseFolder, recipe: Recipe, device: Device) -> _Whole:
    with known_warnings_off():
        model: Any = on_meta(base, recipe, formats(recipe.model, device))
    return _Whole(coverage(model), sum(weight.nbytes for weight in model.parameters() if weight.requires_grad))


def _growth(base: BaseFolder, recipe: Recipe, device: Device, whole: _Whole) -> Growth:
    """A few blocks for all, unless what trains in them does not add up to what trains in the whole model."""
    found = Growth(base, recipe, device)
    if found.at(recipe.train.batch_size, recipe.data.row_length).highest.parts[Part.ADAPTER] == whole.trained:
        return found
    return Growth(base, recipe, device, whole=True)
