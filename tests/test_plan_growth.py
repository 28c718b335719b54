"""Few blocks, rows and tokens stand for many: carried on exactly. And a rehearsed step holds what a real one holds."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from finetune.base import BaseFolder, read_base
from finetune.model import load_model
from finetune.plan.counter import Counter, Part, Stage
from finetune.plan.growth import Growth
from finetune.plan.limits import Device, here
from finetune.plan.rehearsal import Rehearsal
from finetune.plan.rules import IN_FLOAT32, GpuAutocast
from finetune.plan.stand_in import tensors_of
from finetune.recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    from peft import PeftModel

    from finetune.train.engine import RowTrainer

GPU = Device(gpu=True, size=None)
DEEP = {"num_hidden_layers": 6}


@pytest.fixture(scope="session")
def deep(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six blocks in config.json, and no weights."""
    return folder_with(tiny_base, tmp_path_factory.mktemp("deep"), DEEP)


def folder_with(base: Path, parent: Path, config: Mapping[str, Any]) -> Path:
    folder = Path(shutil.copytree(base, parent / "base", ignore=shutil.ignore_patterns("*.safetensors")))
    (folder / "model.safetensors").write_bytes(b"")
    old = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(old | config))
    return folder


def recipe_for(base: Path, *overrides: str) -> Recipe:
    return parse_recipe("", [f"model.path={base}", *overrides])


WAYS = {
    "qlora": ("model.quantization=nf4", "train.optimizer=paged_adamw_8bit"),
    "full, blocks kept": ("adapter=full", "train.accumulation=1", "train.gradient_checkpointing=false"),
}


@pytest.mark.parametrize("overrides", WAYS.values(), ids=WAYS)
def test_what_is_carried_on_from_a_few_blocks_and_sizes_is_what_a_whole_rehearsal_finds(deep: Path, overrides: tuple[str, ...]) -> None:
    recipe = recipe_for(deep, *overrides)
    base = read_base(recipe.model)
    found, rehearsal = Growth(base, recipe, GPU), Rehearsal(base, recipe, GPU)
    for rows, row_length, at in ((1, 488, found.at(1, 488)), (5, 96, found.at_rows(5, 96))):
        timeline = rehearsal.step(rows, row_length)
        assert at.highest.size == timeline.rows().sum(axis=1).max()
        assert at.flops == timeline.flops


def test_a_method_on_some_blocks_only_is_rehearsed_with_all_of_them(deep: Path) -> None:
    from finetune.plan import planned

    recipe = recipe_for(deep, "adapter={kind: lora, r: 16, targets: [model.layers.5.mlp.c_fc]}", "data.row_length=128")
    at = planned(recipe, GPU)
    assert at.highest.parts[Part.ADAPTER] == 16 * (64 + 128) * 4


FAMILIES: dict[str, dict[str, Any]] = {
    "gpt_bigcode": {"model_type": "gpt_bigcode", "n_embd": 64, "n_head": 4, "n_layer": 4, "n_positions": 512, "n_inner": 256},
    "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_head": 4, "n_layer": 4, "n_positions": 512},
    "qwen2": {"model_type": "qwen2", "num_hidden_layers": 4, "use_sliding_window": True, "max_window_layers": 2, "sliding_window": 64},
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_other_architectures_are_rehearsed_as_they_are(tiny_base: Path, tmp_path: Path, kind: str) -> None:
    folder = folder_with(tiny_base, tmp_path, FAMILIES[kind])
    recipe = recipe_for(folder, "model.family=none")
    base = read_base(recipe.model)
    assert Growth(base, recipe, GPU).at(2, 256).highest.size == Rehearsal(base, recipe, GPU).step(2, 256).rows().sum(axis=1).max()


@pytest.mark.parametrize("method", ["ia3", "adapter_p", "parallel", "adalora", "ln_tuning", "oft", "p_tuning", "prompt", "prefix"])
def test_every_method_can_be_planned(tiny_base: Path, method: str) -> None:
    unpacked = ("data.packing=false", "train.gradient_checkpointing=false") if method in ("p_tuning", "prompt", "prefix") else ()
    recipe = recipe_for(tiny_base, f"adapter={method}", *unpacked)
    at = Growth(read_base(recipe.model), recipe, GPU).only(1, 64)
    assert at.highest.parts[Part.ADAPTER] > 0


CASES = {
    "lora": (),
    "lora, blocks kept": ("train.gradient_checkpointing=false", "model.dtype=float32"),
    "qlora": ("model.quantization=nf4", "train.optimizer=adamw_8bit"),
    "full": ("adapter=full", "train.accumulation=1"),
    "adapter_h": ("adapter=adapter_h", "adapter.size=8", "export=adapter"),
}
OF_PEFT = {
    **{kind: (f"adapter={kind}", "adapter.r=16") for kind in ("delora", "gralora", "hira", "miss", "vera")},
    "c3a": ("adapter=c3a", "adapter.block_size=16"),
    "road": ("adapter=road", "adapter.group_size=16"),
}
SLOW = [pytest.param(overrides, marks=pytest.mark.slow, id=kind) for kind, overrides in OF_PEFT.items()]


@pytest.mark.parametrize("overrides", [*(pytest.param(overrides, id=kind) for kind, overrides in CASES.items()), *SLOW])
def test_a_plan_is_within_five_per_cent_of_what_a_real_step_holds(tiny_base: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    recipe = recipe_for(tiny_base, f"runs={tmp_path}", "train.accumulation=2", "train.batch_size=2", *overrides)
    base = read_base(recipe.model)
    expected = Growth(base, recipe, here()).only(2, 256).highest.size
    assert real_highest(base, recipe, tmp_path, row_length=256) == pytest.approx(expected, rel=0.05)


def test_torchs_own_profiler_sees_what_the_counting_sees(tiny_base: Path, tmp_path: Path) -> None:
    """Every byte that the allocator gives and takes back while the engine trains, on top of what the model held before."""
    recipe = recipe_for(tiny_base, f"runs={tmp_path}", "train.batch_size=8", "train.accumulation=1")
    base = read_base(recipe.model)
    expected = Growth(base, recipe, here()).only(8, 256).highest.size
    trainer, adapted = engine_of(base, recipe, tmp_path, row_length=256)
    storages = [tensor.untyped_storage() for module in adapted.modules() for tensor in tensors_of(module)]
    before = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        trainer.train()
    results: Any = found.profiler
    events = sorted((event for event in results.kineto_results.events() if event.name() == "[memory]"), key=lambda event: event.start_ns())
    assert before + max(accumulate(event.nbytes() for event in events)) == pytest.approx(expected, rel=0.05)


def real_highest(base: BaseFolder, recipe: Recipe, staging: Path, *, row_length: int) -> int:
    """The most bytes that the engine of `train` holds on real tensors, by the same counting of storages."""
    trainer, adapted = engine_of(base, recipe, staging, row_length=row_length)
    counter = Counter()
    for module in adapted.modules():
        counter.keep(tensors_of(module), Part.REST)
    with counter:
        trainer.train()
    return int(counter.timeline.rows().sum(axis=1).max())


def engine_of(base: BaseFolder, recipe: Recipe, staging: Path, *, row_length: int) -> tuple[RowTrainer, PeftModel]:
    """What `train` trains with, for two steps on rows of two samples, and its model."""
    from finetune.data.store import read_rows, write_rows
    from finetune.records import PackedRow
    from finetune.train.engine import Rows, make_trainer

    half = row_length // 2
    rows = [PackedRow([7 + n] * row_length, [7 + n] * row_length, [*range(half), *range(half)]) for n in range(8)]
    write_rows(rows, staging / "rows", vocabulary_size=base.vocabulary_size)
    model = load_model(base, recipe.model)
    model.config.use_cache = False
    adapted = recipe.adapter(model, base.family)
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": 2})})
    trainer = make_trainer(recipe, adapted, Rows(read_rows(staging / "rows").with_format("numpy"), None), staging=staging, fresh=False)
    trainer.args.save_strategy = "no"
    gc.collect()
    return trainer, adapted


def test_the_list_of_what_a_gpu_computes_in_float32_is_of_operators_that_its_autocast_knows() -> None:
    names = torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA")
    known = {name.removeprefix("aten::").split(".")[0] for name in names} | {"cross_entropy"}  # a log_softmax and an nll_loss
    assert known >= IN_FLOAT32


def test_a_gpus_autocast_keeps_norms_in_float32_where_a_cpus_does_not() -> None:
    norm, values = torch.nn.LayerNorm(8, dtype=torch.bfloat16), torch.zeros(2, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(values).dtype == torch.bfloat16
        with GpuAutocast():
            assert norm(values).dtype == torch.float32
            assert torch.nn.functional.linear(norm(values), norm.weight.view(1, 8)).dtype == torch.bfloat16
    with GpuAutocast():
        assert norm(values).dtype == torch.bfloat16


def test_storages_count_once_and_until_nothing_refers_to_them() -> None:
    counter = Counter()
    counter.part, counter.stage = Part.ACTIVATIONS, Stage.FORWARD
    with counter:
        first = torch.zeros(100)
        view = first[:10]
        second = first + 1
        assert counter.held[Part.ACTIVATIONS] == 800
        del first
        assert counter.held[Part.ACTIVATIONS] == 800
        del view
        assert counter.held[Part.ACTIVATIONS] == 400
        counter.keep([second], Part.GRADIENTS)
        assert (counter.held[Part.ACTIVATIONS], counter.held[Part.GRADIENTS]) == (0, 400)
    del second
    assert sum(counter.held) == 0
    assert counter.timeline.rows().sum(axis=1).tolist() == [400, 800]


@pytest.mark.parametrize("row_length", [256, 384, 488])
def test_rows_within_the_window_and_beyond_it_are_each_carried_on_by_their_own_growth(deep: Path, row_length: int) -> None:
    """On a CPU, where rows longer than the window take other operators; the window is 256."""
    recipe = recipe_for(deep)
    base, device = read_base(recipe.model), here()
    at, timeline = Growth(base, recipe, device).at(1, row_length), Rehearsal(base, recipe, device).step(1, row_length)
    assert at.highest.size == pytest.approx(timeline.rows().sum(axis=1).max(), rel=1e-3)  # a dropout's room grows by a root, too
    assert at.flops == timeline.flops
