"""Will it fit, and how much work is it: arithmetic over the model's own layers, before any weight is loaded.

B rows in a pass, T tokens in a row, V vocabulary. Not measured: allocators, kernels and the driver take their own share.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from finetune.base import BaseFolder, read_base
from finetune.data.report import read_report
from finetune.methods import coverage, linear_layers
from finetune.model import autocast_dtype, read_config, weight_dtype
from finetune.quiet import quiet_libraries
from finetune.recipe import ModelSection, Recipe
from finetune.run import Run, run_of

if TYPE_CHECKING:
    from peft import PeftModel
    from rich.console import Group

_OPTIMIZER_BYTES = {"adamw": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2}  # two moments of each trained number
_NF4_BYTES = {True: 0.5 + 1 / 64 + 4 / (64 * 256), False: 0.5 + 4 / 64}  # by double quantisation; a scale for 64 weights
_GIB = 1 << 30


class Term(NamedTuple):
    """One part of the memory, in bytes, and how it was counted."""

    name: str
    size: int
    how: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Memory by its parts; steps and tokens are None as long as nothing is built. `trainable` numbers are trained of `total`."""

    terms: tuple[Term, ...]
    trainable: int
    total: int
    share: float
    tokens_per_step: int
    steps: int | None
    tokens: int | None
    work: float | None

    @property
    def size(self) -> int:
        """The sum of the parts, in bytes."""
        return sum(term.size for term in self.terms)


def plan(recipe: Recipe) -> Plan:
    """The estimate for one process."""
    quiet_libraries()
    base = read_base(recipe.model)
    model = _on_meta(base, recipe)
    covered = coverage(model)
    tokens_per_step = recipe.train.batch_size * recipe.train.accumulation * recipe.data.row_length
    steps = planned_steps(recipe, run_of(recipe))
    tokens = None if steps is None else steps * tokens_per_step
    passes = 6 if recipe.train.gradient_checkpointing else 4  # 2 a weight and token: forward, again, back (a frozen weight has no gradient)
    return Plan(
        terms=(*_state_terms(recipe, model, covered.trainable), *_activation_terms(recipe, model)),
        trainable=covered.trainable,
        total=covered.total,
        share=covered.share,
        tokens_per_step=tokens_per_step,
        steps=steps,
        tokens=tokens,
        work=None if tokens is None else float(tokens) * passes * covered.total,
    )


def planned_steps(recipe: Recipe, run: Run) -> int | None:
    """Optimizer steps of one process over the rows that build made; None before build, unless train.max_steps says it."""
    section = recipe.train
    report = run.data / "report.json"
    if not run.done("build") or not report.exists():
        return section.max_steps
    passes = math.ceil(read_report(report).rows["train"] / section.batch_size)
    steps = max(math.ceil(passes / section.accumulation), 1)
    return section.max_steps or math.ceil(section.epochs * steps)


def table(found: Plan) -> Group:
    """The plan for reading."""
    from rich.console import Group
    from rich.table import Table

    grid = Table("memory, by arithmetic (not measured)", "GiB", "how", title_justify="left")
    for term in found.terms:
        grid.add_row(term.name, f"{term.size / _GIB:.2f}", term.how)
    grid.add_section()
    grid.add_row("together", f"{found.size / _GIB:.2f}", "and about half a GiB for CUDA itself on a GPU")
    lines = [
        f"trained: {found.trainable:,} of {found.total:,} numbers ({found.trainable / found.total:.2%}); "
        f"{found.share:.1%} of the blocks' linear weights have an adapter",
        f"a step: {found.tokens_per_step:,} tokens on each process",
    ]
    if found.steps is None or found.work is None:
        lines.append("steps: not known before `finetune build`")
    else:
        lines.append(f"steps: {found.steps:,}, {found.tokens or 0:,} tokens, {found.work / 1e15:,.3g} PFLOP: seconds = that / your PFLOP/s")
    return Group(grid, *lines)


def _on_meta(base: BaseFolder, recipe: Recipe) -> PeftModel:
    """The model with its adapter, every layer of it, without a single weight."""
    import torch
    from transformers import AutoModelForCausalLM

    config = read_config(base)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        return recipe.adapter(model, base.family)


def _state_terms(recipe: Recipe, model: PeftModel, trainable: int) -> tuple[Term, ...]:
    """Weights, adapter, gradients, optimizer."""
    linear = sum(size for _, _, size in linear_layers(model))
    frozen = sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)
    each, name = _bytes_a_weight(recipe.model)
    other = weight_dtype(recipe.model).itemsize
    optimizer = _OPTIMIZER_BYTES[recipe.train.optimizer]
    return (
        Term("linear layers", math.ceil(linear * each), f"{linear:,} weights at {each:.3g} bytes ({name})"),
        Term("embeddings and the rest", (frozen - linear) * other, f"{frozen - linear:,} weights at {other} bytes"),
        Term("adapter", trainable * 4, f"{trainable:,} numbers in float32"),
        Term("its gradients", trainable * 4, "float32"),
        Term("optimizer", trainable * optimizer, f"{recipe.train.optimizer}: {optimizer} bytes a number"),
    )


def _activation_terms(recipe: Recipe, model: PeftModel) -> tuple[Term, ...]:
    """What a forward and backward pass holds."""
    config = json.loads(model.config.to_json_string())
    tokens = recipe.train.batch_size * recipe.data.row_length
    width, layers = config.get("hidden_size") or config["n_embd"], config.get("num_hidden_layers") or config["n_layer"]
    inner = max(size for _, _, size in linear_layers(model)) // width
    each = (autocast_dtype(recipe.model) or weight_dtype(recipe.model)).itemsize
    block = tokens * (8 * width + 3 * inner) * each  # what the backward pass of one block needs of its forward pass
    if recipe.train.gradient_checkpointing:
        kept = Term("activations", layers * tokens * width * each + block, f"{layers} block inputs of {width}, and one block whole")
    else:
        kept = Term("activations", layers * block, f"{layers} blocks whole; train.gradient_checkpointing=true keeps one")
    logits = tokens * config["vocab_size"] * (each + 8)
    mask = recipe.train.batch_size * recipe.data.row_length**2 * each
    largest = max(size for _, _, size in linear_layers(model)) * each if recipe.model.quantization != "none" else 0
    return (
        kept,
        Term("attention mask", mask, "T x T for each row: samples in a row are kept apart"),
        Term("logits and loss", logits, f"{tokens:,} x {config['vocab_size']:,}: as computed, in float32, and their gradient"),
        Term("one layer dequantised", largest, "the largest, while it is multiplied"),
    )


def _bytes_a_weight(section: ModelSection) -> tuple[float, str]:
    match section.quantization:
        case "nf4":
            return _NF4_BYTES[section.double_quant], "nf4"
        case "int8":
            return 1.0, "int8"
        case _:
            dtype = weight_dtype(section)
            return float(dtype.itemsize), str(dtype).removeprefix("torch.")
