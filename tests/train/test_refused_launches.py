"""Launchers that would spread what a method reads whole, or that say otherwise than the recipe: refused before the base is loaded."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import DeepSpeedPlugin
from training_runs import Prepare

from finetune.errors import TrainError
from finetune.train import train
from finetune.train.launchers import on_cpu_instead, spread_faults

ZERO, FILE = "ACCELERATE_DEEPSPEED_ZERO_STAGE", "ACCELERATE_DEEPSPEED_CONFIG_FILE"
P_TUNING, ADALORA = ("adapter=p_tuning", "data.packing=false", "export=adapter"), ("adapter=adalora",)
WHOLE, GRADIENTS = "{} spreads weights that it reads whole", "DeepSpeed keeps gradients that it ranks by to itself"
FSDP, DEEPSPEED = {"ACCELERATE_USE_FSDP": "true"}, {"ACCELERATE_USE_DEEPSPEED": "true"}
ZERO_2, ZERO_3 = (DEEPSPEED | {ZERO: stage, "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true"} for stage in "23")
THIRD = {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}
AUTO = {"gradient_accumulation_steps": "auto"}  # accelerate puts 1 where it is left out


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        monkeypatch.delenv(name)


def launched(monkeypatch: pytest.MonkeyPatch, launcher: Mapping[str, str]) -> None:
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)


def own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Mapping[str, Any]) -> Path:
    """What `accelerate launch` sets for a launch file that names a configuration of DeepSpeed."""
    path = tmp_path / "zero.json"
    path.write_text(json.dumps(settings))
    launched(monkeypatch, DEEPSPEED | {FILE: str(path)})
    return path


@pytest.mark.parametrize(
    ("launcher", "settings", "why"),
    [
        (FSDP, P_TUNING, WHOLE.format("FSDP")),
        (FSDP, ADALORA, WHOLE.format("FSDP")),
        (ZERO_3, P_TUNING, WHOLE.format("ZeRO-3")),
        (ZERO_2, ADALORA, GRADIENTS),
        (ZERO_3, ADALORA, GRADIENTS),
    ],
    ids=["fsdp-p_tuning", "fsdp-adalora", "zero3-p_tuning", "zero2-adalora", "zero3-adalora"],
)
def test_a_method_that_reads_what_a_launcher_takes_to_itself_is_refused(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, launcher: dict[str, str], settings: tuple[str, ...], why: str
) -> None:
    """They ended in the libraries' words in the first pass (FSDP2) or step (ZeRO-2), or waited for ever at a checkpoint (ZeRO-3)."""
    recipe = prepare(*settings)
    launched(monkeypatch, launcher)
    assert [*spread_faults(recipe, cpu=False)] == [f"{settings[0]}: {why}; write adapter=lora, or use ddp.yaml"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
@pytest.mark.parametrize("settings", [P_TUNING, ADALORA], ids=["p_tuning", "adalora"])
def test_a_launcher_that_a_cpu_does_not_spread_by_refuses_nothing(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    recipe = prepare(*settings, "train.max_steps=1")
    launched(monkeypatch, FSDP)
    assert [*spread_faults(recipe, cpu=True)] == []
    assert on_cpu_instead(recipe) == ["FSDP spreads a model over GPUs only, so each process holds all of it"]
    assert train(recipe).steps == 1


@pytest.mark.parametrize("handed", ["a file", "a launch file that says ZeRO-2 beside it", "its content"])
@pytest.mark.parametrize("adapter", ["p_tuning", "prompt", "prefix"])
def test_learnt_prompts_are_refused_where_a_configuration_of_ones_own_says_zero_3(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, adapter: str, handed: str
) -> None:
    recipe = prepare(f"adapter={adapter}", *P_TUNING[1:], "train.gradient_checkpointing=false")
    path = own_file(monkeypatch, tmp_path, {"zero_optimization": THIRD, **AUTO})
    if handed == "its content":
        monkeypatch.setenv(FILE, base64.urlsafe_b64encode(path.read_bytes()).decode())
    elif handed != "a file":
        monkeypatch.setenv(ZERO, "2")
    with pytest.raises(TrainError, match=rf"^adapter={adapter}: ZeRO-3 spreads weights that it reads whole; write adapter=lora"):
        train(recipe)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_configuration_that_says_what_the_recipe_says_is_followed(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: int
) -> None:
    same = {"train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2, "train_batch_size": 8, "gradient_clipping": 1}
    half = {"bf16": {"enabled": "auto"}, "fp16": {"enabled": False}}
    own_file(monkeypatch, tmp_path, {"zero_optimization": THIRD | {"stage": stage}, **same, **half})
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert [*spread_faults(prepare(), cpu=True)] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (AUTO | {"train_micro_batch_size_per_gpu": 4}, "train_micro_batch_size_per_gpu is 4, but train.batch_size makes it 2"),
        (AUTO | {"train_batch_size": 64}, "train_batch_size is 64, but train.batch_size x train.accumulation x processes makes it 4"),
        ({"gradient_accumulation_steps": 8}, "gradient_accumulation_steps is 8, but train.accumulation makes it 2"),
        ({}, "gradient_accumulation_steps is 1, as where it is left out, but train.accumulation makes it 2"),
        (AUTO | {"gradient_clipping": 0.5}, "gradient_clipping is 0.5, but train.max_grad_norm makes it 1.0"),
        (AUTO | {"bf16": {"enabled": True}}, "bf16.enabled is True, but model.dtype makes it False"),
        (AUTO | {"fp16": {"enabled": True}}, "fp16.enabled is True, but model.dtype makes it False"),
    ],
)
def test_a_configuration_that_says_otherwise_than_the_recipe_is_refused(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    """They ended in a traceback when the trainer was made."""
    path = own_file(monkeypatch, tmp_path, {"zero_optimization": {"stage": 2}, **settings})
    assert [*spread_faults(prepare(), cpu=True)] == [f'{path}: {said}; write "auto" there']


@pytest.mark.parametrize("section", ["optimizer", "scheduler"])
def test_an_optimizer_of_the_configuration_s_own_is_refused(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, section: str
) -> None:
    path = own_file(monkeypatch, tmp_path, {"zero_optimization": {"stage": 2}, **AUTO, section: {"type": "Any"}})
    assert [*spread_faults(prepare(), cpu=True)] == [
        f"{path}: {section} would take the place of what train in the recipe says; take it out of the file"
    ]


def test_what_does_not_gather_the_weights_of_zero_3_is_refused_before_the_training(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It ended in a traceback after the last step, without an adapter."""
    recipe = prepare()
    path = own_file(monkeypatch, tmp_path, {"zero_optimization": {"stage": 3}, **AUTO})
    with pytest.raises(TrainError, match=f"^{path}: ZeRO-3 would leave the adapter in pieces; write .stage3_gather_16bit_weights_on_m"):
        train(recipe)
    monkeypatch.delenv(FILE)
    launched(monkeypatch, ZERO_3 | {"ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "false"})
    assert [*spread_faults(recipe, cpu=True)] == [
        "deepspeed_config: ZeRO-3 would leave the adapter in pieces; write zero3_save_16bit_model: true"
    ]


def test_a_precision_of_the_launcher_s_own_is_refused_under_deepspeed(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, ZERO_3 | {"ACCELERATE_MIXED_PRECISION": "bf16"})
    assert [*spread_faults(prepare(), cpu=True)] == [
        'mixed_precision: the launcher says bf16, but model.dtype=float32 computes without; write "no" there'
    ]
    assert [*spread_faults(prepare("model.dtype=bfloat16", name="half"), cpu=True)] == []


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_the_configuration_turns_off_is_none(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, precision: str
) -> None:
    recipe, named = prepare(), {"ACCELERATE_MIXED_PRECISION": precision}
    own_file(monkeypatch, tmp_path, AUTO | {"zero_optimization": {"stage": 2}})
    launched(monkeypatch, named)
    assert [*spread_faults(recipe, cpu=True)] == [
        f"mixed_precision: the launcher says {precision}, but model.dtype=float32 computes without; leave --mixed_precision out"
    ]
    own_file(monkeypatch, tmp_path, AUTO | {"zero_optimization": {"stage": 2}, precision: {"enabled": False}})
    assert [*spread_faults(recipe, cpu=True)] == []
    plugin = DeepSpeedPlugin()
    plugin.set_mixed_precision(precision)
    assert [plugin.deepspeed_config[each] for each in ("bf16", "fp16")] == [{"enabled": False}] * 2


@pytest.mark.parametrize("fields", ["mixed_precision", "zero3_init_flag,zero_stage,gradient_clipping,mixed_precision"])
def test_settings_of_the_launch_file_beside_a_configuration_are_named(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fields: str
) -> None:
    """accelerate counts mixed_precision among them, whatever it says."""
    path = own_file(monkeypatch, tmp_path, AUTO | {"zero_optimization": {"stage": 2}})
    monkeypatch.setenv("ACCELERATE_CONFIG_DS_FIELDS", f"deepspeed_config_file,{fields}")
    named = ", ".join(each for each in fields.split(",") if each != "zero3_init_flag")
    with pytest.raises(TrainError) as caught:
        [*spread_faults(prepare(), cpu=True)]
    assert str(caught.value) == f"{path}: the launch file says {named} beside it, which accelerate refuses; take that out there"


@pytest.mark.parametrize("more", [{}, {"comment": "x" * 300}], ids=["short", "long"])
def test_a_configuration_that_is_handed_over_as_its_content_is_not_shown(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    settings = json.dumps(AUTO | {"zero_optimization": {"stage": 3}} | more)
    for content in (base64.urlsafe_b64encode(settings.encode()).decode(), settings):
        launched(monkeypatch, DEEPSPEED | {FILE: content})
        assert [*spread_faults(prepare(), cpu=True)] == [
            "deepspeed_config_file: ZeRO-3 would leave the adapter in pieces; "
            'write "stage3_gather_16bit_weights_on_model_save": true in zero_optimization'
        ]


def test_fp8_that_zero_3_does_not_go_with_is_one_message(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, ZERO_3 | {"ACCELERATE_MIXED_PRECISION": "fp8", "ACCELERATE_FP8_BACKEND": "MSAMP"})
    with pytest.raises(TrainError, match=r"^mixed_precision: fp8 can not be had so \(MS-AMP is not supported for ZeRO Stage 3"):
        [*spread_faults(prepare(), cpu=True)]


@pytest.mark.parametrize("content", [None, "{", "[1]", "{}", '{"zero_optimization": 3}'])
def test_a_configuration_that_is_none_is_one_message(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = own_file(monkeypatch, tmp_path, {})
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(TrainError, match=f"^{path}: no configuration of DeepSpeed that accelerate can read .*; write the path of a JSON"):
        train(prepare())
