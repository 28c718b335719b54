"""Every recipe that we ship is sound as far as a machine without its base model can tell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune.base import DEMO, read_base
from finetune.check import require_sound
from finetune.families import FAMILIES
from finetune.methods import METHODS, Lora
from finetune.plan import plan
from finetune.plan.limits import Device
from finetune.plan.rehearsal import Rehearsal
from finetune.recipe import Recipe, load_recipe
from finetune.sweep.points import points

ROOT = Path(__file__).parent.parent
RECIPES = [*sorted((ROOT / "recipes").glob("*.yaml")), DEMO / "demo.yaml"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_writes_no_default_again(path: Path) -> None:
    """Defaults live once, in the class; a recipe holds what differs, and OctoPack's and LoRA's own numbers."""
    stated = yaml.safe_load(path.read_text())
    default = Recipe().model_dump(mode="json")
    for section in ("model", "data", "train", "evaluate"):
        for key, value in stated.get(section, {}).items():
            assert load_recipe(path).model_dump(mode="json")[section][key] != default[section][key] or value == []


# Two blocks of the architecture that each published base has, and the family whose row it must find.
WIDE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
STARCODER2 = ("starcoder2", {"model_type": "starcoder2", "max_position_embeddings": 16384, "sliding_window": 4096, **WIDE})
BIGCODE = {"model_type": "gpt_bigcode", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 256}
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bigcode/starcoder2-3b": STARCODER2,
    "bigcode/starcoder2-7b": STARCODER2,
    "bigcode/starcoder2-15b": STARCODER2,
    "bigcode/starcoder": ("starcoder", {**BIGCODE, "n_positions": 8192}),
    "bigcode/gpt_bigcode-santacoder": ("santacoder", {**BIGCODE, "n_positions": 2048}),
    "Qwen/Qwen2.5-Coder-1.5B": ("qwen2.5-coder", {"model_type": "qwen2", "max_position_embeddings": 32768, **WIDE}),
}
OF_A_BASE = [path for path in RECIPES if load_recipe(path).model.path != "demo"]


def on_its_base(path: Path, make: Callable[[Sequence[str]], Path]) -> Recipe:
    """The recipe on two blocks of its base's architecture, with the tokens of its family."""
    name, shape = BASES[load_recipe(path).model.path]
    (row,) = (row for row in FAMILIES if row.name == name)
    folder = make(row.sentinels)
    (folder / "config.json").write_text(json.dumps({"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 0, **shape}))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")  # of no tensors
    return load_recipe(path, [f"model.path={folder}"])


@pytest.mark.parametrize("path", OF_A_BASE, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_sound_on_its_base(path: Path, byte_tokenizer: Callable[[Sequence[str]], Path]) -> None:
    recipe = on_its_base(path, byte_tokenizer)
    assert read_base(require_sound(recipe).model).family.name == BASES[load_recipe(path).model.path][0]


def kind_of_step(path: Path) -> str:
    """What decides how a step is computed; 3B, 7B and 15B differ in size alone."""
    recipe = load_recipe(path)
    train = recipe.train
    return str((BASES[recipe.model.path][0], recipe.model.quantization, recipe.adapter, train.optimizer, recipe.data.row_length))


@pytest.mark.parametrize("path", {kind_of_step(path): path for path in OF_A_BASE}.values(), ids=lambda path: path.stem)
def test_a_shipped_recipe_takes_a_step(path: Path, byte_tokenizer: Callable[[Sequence[str]], Path]) -> None:
    """Dry: its own rows, method, number formats and optimizer on fake tensors of its architecture."""
    recipe = on_its_base(path, byte_tokenizer)
    rows, row_length = recipe.train.batch_size, recipe.data.row_length
    step = Rehearsal(read_base(recipe.model), recipe, Device(gpu=True, size=None)).step(rows, row_length)
    assert step.rows().sum(axis=1).max() > 2 * rows * row_length * 320, "at least the logits of its rows"


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_planned(path: Path, byte_tokenizer: Callable[[Sequence[str]], Path]) -> None:
    """As `finetune plan` does it; two blocks of a base fit any card that is told of."""
    recipe = on_its_base(path, byte_tokenizer) if path in OF_A_BASE else load_recipe(path)
    found = plan(recipe, gpu="80GiB")
    assert found.fits and all(each.batch_size is not None for each in found.fits)
    assert 0 < found.trainable <= found.total and found.tokens_per_step == (
        recipe.train.batch_size * recipe.train.accumulation * recipe.data.row_length
    )


@pytest.mark.parametrize("size", ["3b", "7b", "15b"])
def test_instruction_tuning_has_octocoders_numbers(size: str) -> None:
    """OctoPack (arXiv 2308.07124): batch 32 of 2,048 tokens, 35 steps, everything learnt."""
    recipe = load_recipe(ROOT / "recipes" / f"starcoder2-{size}-octopack.yaml")
    assert recipe.adapter == Lora(r=16, alpha=32, dropout=0.05)
    found, data = recipe.train, recipe.data
    assert (found.learning_rate, found.schedule, found.warmup_steps, found.weight_decay) == (5e-4, "cosine", 5, 0.05)
    assert (found.max_steps, found.batch_size * found.accumulation, data.row_length, data.packing, data.learn) == (
        35,
        32,
        2048,
        True,
        "all",
    )
    assert [(miner.kind, getattr(miner, "form", None)) for miner in data.miners] == [("commits", "text")]


@pytest.mark.parametrize("size", ["3b", "7b", "15b"])
def test_fill_in_the_middle_alone_differs_from_the_mixture_in_its_miners_alone(size: str) -> None:
    alone, mixed = (load_recipe(ROOT / "recipes" / f"starcoder2-{size}-{what}.yaml") for what in ("fim", "qlora"))
    assert [miner.kind for miner in alone.data.miners] == ["fim"]
    assert {"fim", "commits"} <= {miner.kind for miner in mixed.data.miners}
    same = {"name": "", "data": alone.data.model_copy(update={"miners": ()})}
    assert alone.model_copy(update=same) == mixed.model_copy(update={**same, "data": mixed.data.model_copy(update={"miners": ()})})


ASKED = ("row_length", "learning_rate", "accumulation", "max_steps", "adapter", "num_processes")


@pytest.mark.parametrize("path", [*RECIPES, *sorted((ROOT / "recipes" / "accelerate").glob("*.yaml"))], ids=lambda path: path.stem)
def test_a_shipped_recipe_says_what_it_is_for_and_why_its_numbers_are_what_they_are(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert not [line for line in lines if line.strip().partition(":")[0] in ASKED and "#" not in line]
    if path.parent.name != "accelerate":  # there they are the launcher's own words
        assert not [line for line in lines if re.fullmatch(r"\s+\w+: [\d.e-]+", line)]


ASTRAIOS = ["full", "lora", "ia3", "p_tuning", "adapter_h", "adapter_p", "parallel"]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("astraios-*.yaml")), ids=lambda path: path.stem)
def test_an_astraios_sweep_has_its_seven_methods_with_its_numbers(path: Path) -> None:
    """Every run of it is checked, on the embedded base where the real one is not on this machine."""
    here = ["model.path=demo", "data.row_length=512"]
    runs = [point.recipe for point in points(load_recipe(path, here))]
    assert [run.adapter.kind for run in runs] == ASTRAIOS
    row_length = 512 if path.stem.endswith("demo") else 2048
    assert load_recipe(path).data.row_length == row_length
    for run in runs:
        section = run.train
        assert (section.learning_rate, section.schedule, section.warmup_steps, section.weight_decay) == (1e-4, "cosine", 12, 0.05)
        assert (section.max_steps, section.batch_size * section.accumulation) == (200, 32)
        assert run.adapter == METHODS[run.adapter.kind](), "Astraios's sizes are the defaults"


# What each launch file starts: FSDP version, ZeRO stage, several processes as plain DDP, how many, on the CPU.
LAUNCHES = {
    "single": (None, None, False, 1, False),
    "ddp": (None, None, True, 2, False),
    "fsdp2": (2, None, False, 2, False),
    "deepspeed_zero2": (None, 2, False, 2, False),
    "deepspeed_zero3": (None, 3, False, 2, False),
    "cpu2": (None, None, True, 2, True),
}


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_launch_config_is_what_accelerates_launcher_takes_it_for(path: Path) -> None:
    """T5: the launcher's own reading, before it starts anything."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    words = ["--config_file", str(path), "-m", "finetune", "train", "RECIPE"]
    found, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    fsdp = found.fsdp_version if found.use_fsdp else None
    zero = found.zero_stage if found.use_deepspeed else None
    assert (fsdp, zero, found.multi_gpu, found.num_processes, found.use_cpu) == LAUNCHES[path.stem]
    assert found.mixed_precision == ("bf16" if found.use_deepspeed else "no"), "the recipe's model.dtype decides"
