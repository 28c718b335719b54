"""What a launcher spreads over its processes, read as accelerate reads it: what can not be trained so, and what a CPU does otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from finetune.check import otherwise_on_cpu
from finetune.errors import TrainError
from finetune.methods import AdaLora
from finetune.model import autocast_dtype, on_cpu
from finetune.recipe import Recipe

if TYPE_CHECKING:
    from accelerate.utils import DeepSpeedPlugin

_RECIPES = ("optimizer", "scheduler")  # sections of DeepSpeed that say what the recipe says
_STAGE, _GATHERED = "zero_optimization.stage", "zero_optimization.stage3_gather_16bit_weights_on_model_save"
_ACCUMULATION = "gradient_accumulation_steps"
_LAUNCH_FILE, _OWN_FILE = "deepspeed_config", "deepspeed_config_file"  # where the settings stand in it, or where they do instead
_REFUSED_BESIDE = (  # what accelerate takes from the launch file, and not where that names a file of DeepSpeed's own
    *("mixed_precision", "gradient_accumulation_steps", "gradient_clipping", "zero_stage", "zero3_save_16bit_model"),
    *("offload_optimizer_device", "offload_optimizer_nvme_path", "offload_param_device", "offload_param_nvme_path"),
)


def processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def spread_faults(recipe: Recipe, *, cpu: bool) -> Iterator[str]:
    """What peft reads outside a pass, and finds in pieces there or, of gradients under DeepSpeed, no longer; and a DeepSpeed
    configuration that says otherwise than the recipe; accelerate leaves FSDP out on a `cpu`. Raises TrainError for a configuration that
    can not be read."""
    method, cure = recipe.adapter, "write adapter=lora, or use ddp.yaml"
    if launched_with("DEEPSPEED"):
        zero = _zero()
        if isinstance(method, AdaLora):
            yield f"adapter={method.kind}: DeepSpeed keeps gradients that it ranks by to itself; {cure}"
        elif zero.hf_ds_config.is_zero3() and method.prompt_tokens:
            yield f"adapter={method.kind}: ZeRO-3 spreads weights that it reads whole; {cure}"
        yield from _zero_faults(zero.deepspeed_config, recipe)
    elif launched_with("FSDP") and not cpu and (method.prompt_tokens or isinstance(method, AdaLora)):
        yield f"adapter={method.kind}: FSDP spreads weights that it reads whole; {cure}"


def on_cpu_instead(recipe: Recipe) -> list[str]:
    """What a recipe or a launcher made for a GPU does otherwise on this CPU; empty on a GPU."""
    if not on_cpu():
        return []
    launched = processes() > 1 and os.environ.get("ACCELERATE_USE_CPU") != "true"
    together = [f"the launcher's {processes()} processes share this CPU"] if launched else []
    if launched_with("FSDP"):
        together.append("FSDP spreads a model over GPUs only, so each process holds all of it")
    return together + otherwise_on_cpu(recipe)


def launched_with(engine: str) -> bool:
    """Whether accelerate was asked for FSDP or DEEPSPEED."""
    return os.environ.get(f"ACCELERATE_USE_{engine}") == "true"


def _zero() -> DeepSpeedPlugin:
    """DeepSpeed's settings: of the launch file's own keys, or of a configuration file that it names."""
    from accelerate.utils import DeepSpeedPlugin

    try:
        return DeepSpeedPlugin()
    except NotImplementedError as error:
        raise TrainError(f'mixed_precision: fp8 can not be had so ({error}); write "no" or bf16 there, as model.dtype computes') from error
    except (OSError, ValueError, AttributeError, TypeError) as error:
        fields = os.environ.get("ACCELERATE_CONFIG_DS_FIELDS", "").split(",")
        if _place() != _LAUNCH_FILE and (beside := [each for each in fields if each in _REFUSED_BESIDE]):
            raise TrainError(
                f"{_place()}: the launch file says {', '.join(beside)} beside it, which accelerate refuses; take that out there"
            ) from error
        raise TrainError(
            f"{_place()}: no configuration of DeepSpeed that accelerate can read ({' '.join(str(error).split())[:200]}); "
            "write the path of a JSON file with zero_optimization as deepspeed_config_file, and none of its settings beside it"
        ) from error


def _zero_faults(settings: Mapping[str, Any], recipe: Recipe) -> Iterator[str]:
    """What would end a training at its first step or, of what gathers the weights, after its last; and what would be done otherwise than
    the recipe says."""
    if _value(settings, _STAGE) == 3 and _value(settings, _GATHERED) is not True:
        cure = (
            "zero3_save_16bit_model: true" if _place() == _LAUNCH_FILE else f'"{_GATHERED.rpartition(".")[2]}": true in zero_optimization'
        )
        yield f"{_place()}: ZeRO-3 would leave the adapter in pieces; write {cure}"
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision != "no" and autocast_dtype(recipe.model) is None and _value(settings, f"{precision}.enabled") is not False:
        cure = 'write "no" there' if _place() == _LAUNCH_FILE else "leave --mixed_precision out"
        yield f"mixed_precision: the launcher says {precision}, but model.dtype={recipe.model.dtype} computes without; {cure}"
    for section in _RECIPES:
        if section in settings:
            yield f"{_place()}: {section} would take the place of what train in the recipe says; take it out of the file"
    for key, (name, wanted) in _wanted(recipe).items():
        found = _value(settings, key)
        if found not in (None, "auto", wanted):
            left_out = ", as where it is left out" if key == _ACCUMULATION and found == 1 else ""
            yield f'{_place()}: {key} is {found}{left_out}, but {name} makes it {wanted}; write "auto" there'


def _wanted(recipe: Recipe) -> dict[str, tuple[str, object]]:
    """By the key of DeepSpeed: what of the recipe decides it, and what it is then."""
    section, computed = recipe.train, str(autocast_dtype(recipe.model)).removeprefix("torch.")
    rows = section.batch_size * section.accumulation * processes()
    return {
        "train_micro_batch_size_per_gpu": ("train.batch_size", section.batch_size),
        _ACCUMULATION: ("train.accumulation", section.accumulation),
        "train_batch_size": ("train.batch_size x train.accumulation x processes", rows),
        "gradient_clipping": ("train.max_grad_norm", section.max_grad_norm),
        "bf16.enabled": ("model.dtype", computed == "bfloat16"),
        "fp16.enabled": ("model.dtype", computed == "float16"),
    }


def _value(settings: Mapping[str, Any], key: str) -> object:
    """What stands at a dotted key; None where nothing does."""
    found: Any = settings
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _place() -> str:
    """Where DeepSpeed's settings stand; a file may be handed over as its content, in JSON or base64, which is not shown."""
    own = os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    if own == "none":
        return _LAUNCH_FILE
    is_path = own.endswith(".json") or os.path.isfile(own)  # noqa: PTH113 (Path.is_file raises for what is longer than a name)
    return own if is_path else _OWN_FILE
