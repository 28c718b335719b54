"""A plan for reading: its terms, what fits which card, what to write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from finetune.methods import Coverage
from finetune.plan.counter import Part, Stage
from finetune.plan.fit import spare
from finetune.plan.growth import Moment
from finetune.plan.limits import GIB, RESERVE, SPARE, Device, formats, spread
from finetune.plan.result import Fit, Plan, Proposal, Term
from finetune.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

NAMES = {
    Stage.FORWARD: "forward pass",
    Stage.BACKWARD: "backward pass",
    Stage.BACKWARD_END: "backward pass, first block",
    Stage.UPDATE: "optimizer",
}


def terms(moment: Moment, device: Device, recipe: Recipe, covered: Coverage) -> tuple[Term, ...]:
    """The parts of the highest moment, and what is assumed beside them."""
    sizes = moment.parts | ({} if moment.squared > 0 else {Part.ACTIVATIONS: moment.parts[Part.ACTIVATIONS] + moment.squared})
    found = [Term(name, sizes[part], how) for part, (name, how) in _parts(recipe, device, covered).items()]
    if moment.squared > 0:  # below, what a dropout on a CPU keeps, which grows like T and its root
        found.append(Term("attention mask", moment.squared, "T x T for each row: what keeps samples apart, and what grows like it"))
    if device.gpu:
        found.append(Term("allocator", spare(moment), f"assumed: {SPARE:.0%} of what comes and goes is lost to holes"))
    found.append(
        Term("CUDA itself" if device.gpu else "Python itself", device.context, "assumed: context and libraries, before the first tensor")
    )
    return tuple(found)


def _parts(recipe: Recipe, device: Device, covered: Coverage) -> dict[Part, tuple[str, str]]:
    kinds = formats(recipe.model, device)
    plain = str(kinds.weights).removeprefix("torch.")
    names = {
        "none": plain,
        "nf4": f"nf4, scales {'in 8 bits' if recipe.model.double_quant else 'in float32'}",
        "int8": "int8, a scale a row",
    }
    train = recipe.train
    rows = f"{train.batch_size} x {recipe.data.row_length:,} tokens"
    kept = (
        "a block's input for each block" if train.gradient_checkpointing else "train.gradient_checkpointing=true keeps a block's input only"
    )
    pages = "; they move to main memory when the GPU is full" if train.optimizer.startswith("paged") and device.gpu else ""
    return {
        Part.LINEAR: ("linear layers", f"{covered.linear:,} weights, {names[recipe.model.quantization]}"),
        Part.REST: ("embeddings and the rest", plain),
        Part.ADAPTER: ("what trains", f"{covered.trainable:,} numbers"),
        Part.OPTIMIZER: ("optimizer", f"{train.optimizer}: two moments of each{pages}"),
        Part.GRADIENTS: ("gradients", "of what trains" if train.accumulation > 1 else "of what trains, as far as the pass has come"),
        Part.ACTIVATIONS: ("activations", f"{rows}: {kept}"),
        Part.LOSS: ("logits and loss", "as computed, in float32, their logarithms and gradients"),
        Part.BACKWARD: ("the block at hand", "computed again, its gradients, its weights dequantised"),
        Part.UPDATE: ("the batch, and the optimizer at work", "ids, labels, positions; moments as they are computed"),
    }


def table(plan: Plan) -> Group:
    """The plan for a terminal."""
    from rich.console import Group

    lines = [
        "a step at its highest moments, without what is assumed: " + ", ".join(f"{name} {size / GIB:.2f}" for name, size in plan.moments),
        f"trained: {plan.trainable:,} of {plan.total:,} numbers ({plan.trainable / plan.total:.2%}); "
        f"{plan.share:.1%} of the blocks' linear weights have an adapter",
        *_of_several(),
        f"a step: {plan.tokens_per_step:,} tokens on each process, {plan.work_per_token / 1e9:,.3g} GFLOP a token",
        *_time(plan),
    ]
    return Group(_memory(plan), *lines, "", _fits(plan), *(f"{line}" for line in _proposed(plan.proposals)))


def _of_several() -> Iterator[str]:
    if spread():
        yield "a launcher spreads the model: counted is one process with all of it and the logits of learnt tokens, as training has them"


def _memory(plan: Plan) -> Table:
    from rich.table import Table

    title = f"memory on {plan.device.name}: one step on fake tensors, by what torch would hold (not measured)"
    grid = Table("at the highest moment", "GiB", "how", title=title, title_justify="left")
    for term in plan.terms:
        grid.add_row(term.name, f"{term.size / GIB:.2f}", term.how)
    grid.add_section()
    verdict = {True: "fits", False: "does not fit", None: ""}[plan.enough]
    beside = f" with {RESERVE:.0%} of the card kept free" if plan.device.gpu else ""
    grid.add_row("together", f"{plan.size / GIB:.2f}", f"{plan.highest}; {verdict}{beside}")
    return grid


def _time(plan: Plan) -> Iterator[str]:
    if plan.steps is None or plan.work is None:
        yield "steps: not known before `finetune build`"
        return
    yield f"steps: {plan.steps:,}, {plan.tokens or 0:,} tokens, {plan.work / 1e15:,.3g} PFLOP"
    if plan.hours is None:
        yield "hours: no rate is known; state one with --tokens-per-second N, or --tflops N of your GPU"
    else:
        yield f"hours: {plan.hours.hours:,.2f} at {plan.hours.tokens_per_s:,.0f} tokens/s ({plan.hours.source})"


def _fits(plan: Plan) -> Table:
    from rich.table import Table

    title = f"what this recipe fits, tokens and rows of a pass; {RESERVE:.0%} of a card kept free"
    grid = Table("GPU", "longest row", "most rows", "proposed", title=title, title_justify="left")
    proposals = {found.size: found for found in plan.proposals}
    for each in plan.fits:
        grid.add_row(
            f"{each.size / GIB:.4g} GiB", _number(each.row_length), _number(each.batch_size), _short(each, proposals.get(each.size))
        )
    return grid


def _number(value: int | None) -> str:
    return "does not fit" if value is None else f"{value:,}"


def _short(fit: Fit, found: Proposal | None) -> str:
    if found is None:
        return "nothing fits; a smaller base"
    kind = found.method if found.quantization == "none" else f"{found.method} on {found.quantization}"
    blocks = ", blocks computed twice" if found.gradient_checkpointing else ""
    return f"{kind}, {found.batch_size} x {found.row_length:,}{blocks} ({found.needed / fit.size:.0%})"


def _proposed(proposals: tuple[Proposal, ...]) -> Iterator[str]:
    """What to write, once for cards that take the same."""
    sizes: dict[tuple[str, str], list[str]] = {}
    for found in proposals:
        sizes.setdefault((" ".join(found.overrides) or "as it is", found.why), []).append(f"{found.size / GIB:.4g}")
    for (overrides, why), cards in sizes.items():
        yield f"{', '.join(cards)} GiB: {overrides} ({why})"


def as_json(plan: Plan) -> str:
    """The plan as one JSON object, sizes in bytes."""
    more = {"size": plan.size, "enough": plan.enough, "work": plan.work}
    found = asdict(plan) | more | {"terms": [term._asdict() for term in plan.terms]}
    return json.dumps(found, indent=1)
