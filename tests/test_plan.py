"""What a plan says, and that training listens to it."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from finetune.base import read_base
from finetune.errors import RecipeError, TrainError
from finetune.plan import Plan, Rate, as_json, plan, planned, planned_steps, require_fit, table
from finetune.plan.counter import Counter, Part
from finetune.plan.fit import fit, needed
from finetune.plan.growth import UNIT, Growth
from finetune.plan.limits import CARDS, Device, card
from finetune.plan.rehearsal import Rehearsal
from finetune.plan.rules import GpuAutocast
from finetune.recipe import Recipe, parse_recipe
from finetune.run import open_run

GIB = 1 << 30
THREE_BILLION = {
    "vocab_size": 49152,
    "hidden_size": 3072,
    "num_hidden_layers": 30,
    "num_attention_heads": 24,
    "num_key_value_heads": 2,
    "intermediate_size": 12288,
    "max_position_embeddings": 16384,
    "sliding_window": 4096,
}


@pytest.fixture(scope="session")
def three_billion(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that says it holds StarCoder 2 3B; its weights are never read."""
    folder = Path(shutil.copytree(tiny_base, tmp_path_factory.mktemp("plan") / "three_billion"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | THREE_BILLION))
    return folder


@pytest.fixture(scope="session")
def plan_of_3b(three_billion: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    settings = ("adapter.r=16", "model.quantization=nf4", "train.optimizer=paged_adamw_8bit", "data.row_length=2048", "train.max_steps=10")
    return plan(recipe_for(three_billion, tmp_path_factory.mktemp("runs"), *settings), gpu="12GiB", rate=Rate(tflops=100, utilisation=0.5))


def recipe_for(base: Path, tmp_path: Path, *overrides: str) -> Recipe:
    return parse_recipe("", [f"model.path={base}", f"runs={tmp_path / 'runs'}", *overrides])


def sizes(found: Plan) -> dict[str, int]:
    return {term.name: term.size for term in found.terms}


def test_4_bit_weights_of_3b_are_counted_to_the_byte(plan_of_3b: Plan) -> None:
    """Half a byte a weight, a scale of 8 bits for 64 weights, a float32 for 256 scales, and what stands once a layer."""
    assert plan_of_3b.trainable == 2 * 11_919_360
    kv, hidden, inner = 256, 3072, 12288
    shapes = [(hidden, hidden), (kv, hidden), (kv, hidden), (hidden, hidden), (inner, hidden), (hidden, inner)]
    table_of_4_bits, table_of_8_bits, offset = 16 * 4, 256 * 4, 4
    once = table_of_4_bits + table_of_8_bits + offset
    expected = sum(
        rows * columns // 2 + rows * columns // 64 + -(-rows * columns // 64 // 256) * 4 + once + 2 * rows for rows, columns in shapes
    )
    assert sizes(plan_of_3b)["linear layers"] == 30 * expected


def test_the_largest_terms_of_3b_are_near_the_arithmetic(plan_of_3b: Plan) -> None:
    part = sizes(plan_of_3b)
    assert (part["linear layers"] + part["embeddings and the rest"]) / GIB == pytest.approx(1.67, abs=0.03)
    assert part["logits and loss"] == pytest.approx(2048 * 3072 * 4, rel=1e-3)  # no logits: the gradient of what went into the head
    assert "attention mask" not in part
    assert plan_of_3b.size == sum(part.values())


def test_what_a_dropout_keeps_on_a_cpu_is_no_mask(tiny_base: Path, tmp_path: Path) -> None:
    """It grows by a root beside T, so that what grows with T x T comes out below nothing."""
    found = plan(recipe_for(tiny_base, tmp_path, "adapter.dropout=0.05", "data.row_length=256", "train.gradient_checkpointing=false"))
    part = sizes(found)
    assert "attention mask" not in part and all(size >= 0 for size in part.values())
    assert found.size == sum(part.values())


def test_a_card_that_is_named_is_the_one_that_is_planned_for(plan_of_3b: Plan) -> None:
    (fit,) = plan_of_3b.fits
    (proposal,) = plan_of_3b.proposals
    assert plan_of_3b.device == Device(gpu=True, size=12 * GIB)
    assert plan_of_3b.enough
    assert fit.row_length is not None
    assert fit.row_length > 4096
    assert fit.batch_size is not None
    assert fit.batch_size >= 2
    assert proposal.needed <= 12 * GIB
    assert proposal.row_length == 2048


@pytest.fixture(scope="session")
def wide(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wide blocks: 140 MiB in bfloat16, a quarter of it in 4 bits."""
    folder = Path(shutil.copytree(tiny_base, tmp_path_factory.mktemp("wide") / "wide"))
    config = json.loads((folder / "config.json").read_text())
    shape = {"hidden_size": 1024, "num_attention_heads": 8, "intermediate_size": 16384, "max_position_embeddings": 8192}
    (folder / "config.json").write_text(json.dumps(config | shape))
    return folder


def test_the_longest_row_and_the_largest_batch_grow_with_the_card(wide: Path, tmp_path: Path) -> None:
    recipe = recipe_for(wide, tmp_path, "data.row_length=1024", "train.gradient_checkpointing=false", "train.accumulation=1")
    growth = Growth(read_base(recipe.model), recipe, Device(gpu=True, size=None))
    assert CARDS == (8, 12, 16, 24, 40, 48, 80)
    found = [fit(growth, recipe, Device(gpu=True, size=each * GIB), longest=1 << 19) for each in CARDS]
    for measure in ([each.row_length or 0 for each in found], [each.batch_size or 0 for each in found]):
        assert measure[0] > 0 and all(small < large for small, large in pairwise(measure))
    for each, card_size in zip(found, CARDS, strict=True):
        device = Device(gpu=True, size=card_size * GIB)
        longest, most = each.row_length or 0, each.batch_size or 0
        room = 0.97 * card_size * GIB
        assert needed(growth.at(1, longest), device) <= room < needed(growth.at(1, longest + UNIT), device)
        assert needed(growth.at_rows(most, 1024), device) <= room < needed(growth.at_rows(most + 1, 1024), device)


def test_lora_is_proposed_where_it_fits_and_4_bits_only_where_it_does_not(wide: Path, tmp_path: Path) -> None:
    recipe = recipe_for(wide, tmp_path, "model.quantization=nf4", "data.row_length=128", "train.accumulation=1")
    assert plan(recipe, gpu="8GiB").proposals[0].quantization == "none"
    small = plan(recipe, gpu="640MiB").proposals[0]
    assert (small.method, small.quantization, small.batch_size, small.row_length) == ("lora", "nf4", 1, 128)
    assert small.overrides == ("train.optimizer=paged_adamw_8bit",)


def test_some_of_a_card_is_kept_free(plan_of_3b: Plan) -> None:
    """A card reports up to 2.4 % less than its name says."""
    tight, enough = (replace(plan_of_3b, device=Device(gpu=True, size=int(plan_of_3b.size / share))) for share in (0.975, 0.965))
    assert tight.enough is False and enough.enough is True
    assert replace(tight, device=Device(gpu=False, size=plan_of_3b.size)).enough, "what a CPU's memory is said to be is there"
    assert all(found.needed <= 0.97 * found.size for found in plan_of_3b.proposals)


@pytest.mark.parametrize("launcher", ["FSDP", "DEEPSPEED"])
def test_where_a_launcher_spreads_the_model_the_logits_of_all_learnt_tokens_are_held(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    recipe = recipe_for(tiny_base, tmp_path, "data.row_length=256", "train.batch_size=2")
    monkeypatch.setenv(f"ACCELERATE_USE_{launcher}", "true")
    step = Rehearsal(read_base(recipe.model), recipe, Device(gpu=True, size=None)).step(2, 256)
    logits = 2 * 255 * 320
    assert step.rows()[:, Part.LOSS].max() >= logits * (2 + 4), "as computed, and in float32"


def test_a_head_that_trains_holds_its_gradient_and_an_eighth_of_the_logits(tiny_base: Path, tmp_path: Path) -> None:
    """Beside hidden states, their copies and gradients; the logits of all tokens alone are 653 kB."""
    recipe = recipe_for(tiny_base, tmp_path, "adapter=full", "model.dtype=float32", "data.row_length=256", "train.batch_size=2")
    step = Rehearsal(read_base(recipe.model), recipe, Device(gpu=False, size=None)).step(2, 256)
    head, hidden, logits = 320 * 64 * 4, 2 * 255 * 64 * 4, 2 * 255 * 320 * 4
    assert head + logits / 8 < step.rows()[:, Part.LOSS].max() < head + 2 * logits / 8 + 4 * hidden


def test_what_is_proposed_fits_when_it_is_planned(wide: Path, tmp_path: Path) -> None:
    settings = ("model.quantization=nf4", "train.accumulation=2")
    found = plan(recipe_for(wide, tmp_path, *settings), gpu="800MiB").proposals[0]
    assert found.row_length < 2048
    again = plan(recipe_for(wide, tmp_path, *settings, *found.overrides), gpu="800MiB")
    assert again.size == found.needed
    assert again.enough


def test_nothing_is_proposed_where_nothing_fits(wide: Path, tmp_path: Path) -> None:
    found = plan(recipe_for(wide, tmp_path), gpu="500MiB")
    assert found.enough is False
    assert (found.fits[0].row_length, found.fits[0].batch_size, found.proposals) == (None, None, ())


def test_every_choice_that_saves_memory_shows_in_the_plan(tiny_base: Path, tmp_path: Path) -> None:
    gpu = Device(gpu=True, size=None)

    def size(*overrides: str) -> int:
        return planned(recipe_for(tiny_base, tmp_path, "data.row_length=256", *overrides), gpu).highest.size

    usual = size()
    assert size("model.quantization=nf4") < size("model.quantization=int8")
    assert size("model.quantization=nf4") < usual < size("model.dtype=float32")
    assert size("train.gradient_checkpointing=false") > usual
    assert size("train.optimizer=adamw_8bit") < usual
    assert size("data.row_length=128") < usual
    assert size("adapter.r=64") > usual


def test_hours_follow_from_the_rate_that_was_stated(plan_of_3b: Plan, tiny_base: Path, tmp_path: Path) -> None:
    assert plan_of_3b.work is not None
    assert plan_of_3b.hours is not None
    assert plan_of_3b.hours.hours == pytest.approx(plan_of_3b.work / (100e12 * 0.5) / 3600)
    assert "arithmetic, not measured" in plan_of_3b.hours.source
    recipe = recipe_for(tiny_base, tmp_path, "train.max_steps=9", "data.row_length=128")
    assert plan(recipe, gpu="8GiB").hours is None
    stated = plan(recipe, gpu="8GiB", rate=Rate(tokens_per_s=64)).hours
    assert stated is not None
    assert stated.hours == pytest.approx(9 * 16 * 128 / 64 / 3600)


def test_work_is_that_of_the_products_of_the_step(plan_of_3b: Plan) -> None:
    """2 a weight and token: forward, again, and back to the input; once more for what trains and for the head's own pass back."""
    kv, hidden, inner = 256, 3072, 12288
    block = 2 * hidden * hidden + 2 * kv * hidden + 2 * hidden * inner
    linear, head, adapter = 30 * block, 49152 * hidden, plan_of_3b.trainable
    attention = 30 * 2048 // 2 * hidden  # scores of the tokens before one, 1,024 in the mean; as much for each of the other products
    first = hidden * hidden + 2 * kv * hidden  # q, k and v of the first block: nothing before them learns
    least = 2 * (3 * linear - first + 2 * head + 4 * adapter) + 2 * (2 + 2 + 5) * attention
    assert least <= plan_of_3b.work_per_token <= 1.1 * least


def test_a_dropout_on_a_gpu_keeps_a_byte_for_each_element() -> None:
    """On a CPU it keeps a number as wide as the element."""
    x = torch.ones(1000, requires_grad=True)
    with Counter() as on_cpu:
        kept = functional.dropout(x, 0.5)
    with Counter() as on_gpu, GpuAutocast():
        also_kept = functional.dropout(x, 0.5)
    assert sum(on_cpu.held) == 2 * 4 * 1000 and sum(on_gpu.held) == (4 + 1) * 1000
    assert set(kept.tolist()) == set(also_kept.tolist()) == {0.0, 2.0}
    with GpuAutocast():
        assert torch.equal(functional.dropout(x, 0.5, training=False), x)


def test_a_plan_is_data_too(plan_of_3b: Plan) -> None:
    found = json.loads(as_json(plan_of_3b))
    assert found["size"] == sum(term["size"] for term in found["terms"]) == plan_of_3b.size
    assert found["proposals"][0]["row_length"] == 2048


def test_the_table_says_that_it_is_not_measured(plan_of_3b: Plan) -> None:
    from rich.console import Console

    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(table(plan_of_3b))
    shown = console.export_text()
    assert "not measured" in shown
    assert "assumed" in shown
    assert "12 GiB" in shown


@pytest.mark.parametrize("text", ["", "big", "0GiB", "24 apples", "-4GiB"])
def test_a_size_that_is_none_says_what_to_write(text: str) -> None:
    with pytest.raises(RecipeError, match="write for example --gpu 24GiB"):
        card(text)


def test_sizes_are_read_as_they_are_written() -> None:
    assert {card(text).size for text in ("24", "24GiB", "24 gib", "24G")} == {24 * GIB}
    assert [card(text).size for text in ("1.5GB", "512MiB")] == [1_500_000_000, GIB // 2]


def test_a_training_that_can_not_fit_is_refused_before_anything_is_loaded(tiny_base: Path, tmp_path: Path) -> None:
    """Rows of a length that needs more than any machine's memory; the folder holds no weights that could be loaded."""
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1 << 24, "vocab_size": 1 << 22}))
    (base / "model.safetensors").write_bytes(b"")
    recipe = recipe_for(base, tmp_path, "data.row_length=8388608", "train.batch_size=64")
    with pytest.raises(TrainError, match=r"needs about [\d.]+ GiB and this CPU.*train.fit=ignore"):
        require_fit(read_base(recipe.model), recipe)
    require_fit(read_base(recipe.model), recipe_for(base, tmp_path, "data.row_length=8388608", "train.batch_size=64", "train.fit=ignore"))


def test_steps_are_known_once_rows_are_built_and_are_those_of_the_trainer(tiny_base: Path, tmp_path: Path) -> None:
    recipe = recipe_for(tiny_base, tmp_path, "train.accumulation=4", "train.batch_size=2", "train.epochs=1.5", "data.row_length=128")
    run = open_run(recipe)
    assert planned_steps(recipe, run) is None
    with run.step("build"):
        write_report(run.data, rows=21)
    assert planned_steps(recipe, run) == steps_of_trainer(recipe, rows=21) == 5
    assert plan(recipe, gpu="8GiB").tokens == 5 * 2 * 4 * 128


def write_report(folder: Path, *, rows: int) -> None:
    from finetune.data.report import BuildReport, Counts, SplitCheck, Tokens

    none = Counts(0, 0, {})
    report = BuildReport(
        repositories=(),
        items=none,
        files=none,
        changes=none,
        samples={},
        rows={"train": rows, "valid": 0},
        tokens=Tokens(0, 0, 0, 0, 0.0),
        redactions={},
        languages={},
        licences={},
        heldout=0,
        split=SplitCheck(**{each.name: 0 for each in fields(SplitCheck)}),
        sides={"train": 0, "valid": 0},
        benchmarks={},
        engine="tokenizers",
        shards={},
        lines=none,
        instructions={},
    )
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report.as_dict()))


def steps_of_trainer(recipe: Recipe, *, rows: int) -> int:
    from torch import nn
    from transformers import Trainer

    from finetune.train.engine import arguments

    settings = arguments(recipe, Path(recipe.runs) / "trainer", measured=False, fresh=False)
    trainer = Trainer(model=nn.Linear(1, 1), args=settings, train_dataset=list(range(rows)))  # type: ignore[arg-type]
    return trainer.set_initial_training_values(settings, trainer.get_train_dataloader())[-1]
