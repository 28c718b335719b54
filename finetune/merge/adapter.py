"""What an adapter on disk asks of the base's weights, tensor by tensor; nothing in it is passed over."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from finetune.errors import ExportError
from finetune.merge.changes import Change, LowRank, Rows, Scaled, ScaledBias, Whole
from finetune.merge.layered import FORMS, Layered
from finetune.merge.reading import Stored, contents
from finetune.methods import CONFIG, WEIGHTS
from finetune.quiet import quiet_libraries

Shapes = Mapping[str, tuple[int, ...]]

PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_MAGNITUDE = ".lora_magnitude_vector"
_ROWS = ".token_adapter.trainable_tokens_delta"
_INSTEAD = "write export=adapter to ship it beside its base model"

# Fields of peft's LoraConfig that are honoured below, or that only matter while training. Any other one must be off.
_KNOWN = {
    *("peft_type", "task_type", "inference_mode", "base_model_name_or_path", "revision", "auto_mapping", "peft_version"),
    *("r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "fan_in_fan_out"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "init_lora_weights", "runtime_config"),
    *("modules_to_save", "trainable_token_indices", "loftq_config", "eva_config", "ensure_weight_tying"),
    *("qalora_group_size", "megatron_core"),
}
# Starts that leave the base as it is. PiSSA, OLoRA, CorDA, LoftQ and their like put changed weights into the base:
# what they learnt is a difference to those, not to the files on disk.
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")


# The kinds that can be merged, and what the names of their tensors end in.
_MERGED: Mapping[str, tuple[str, ...]] = {
    "LORA": (),
    "ADALORA": (".lora_A", ".lora_B", ".lora_E"),
    "IA3": (".ia3_l",),
    "LN_TUNING": (".ln_tuning_layers.weight", ".ln_tuning_layers.bias"),
    "FULL": (".full_weight", ".full_bias"),
}


@dataclass(frozen=True, slots=True)
class Adapter:
    """The changes of one adapter, by the name of the base's tensor; `tensors` are its own, by their keys."""

    weights: Path
    changes: Mapping[str, Change]
    tensors: Mapping[str, Stored]


def read_adapter(folder: Path) -> Adapter:
    """The adapter in `folder`. Raises ExportError for one whose effect can not be written into the base's weights."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ExportError(f"{folder}: no adapter lies here ({name} is missing); train first: finetune train RECIPE")
    quiet_libraries()
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    kind = config.get("peft_type")
    if kind not in _MERGED and kind not in FORMS:
        raise ExportError(f"{folder}: a {kind} adapter can not be merged into the weights; {_INSTEAD}")
    if kind == "LORA":
        _refuse_unmergeable(config, folder)
    from safetensors import SafetensorError

    try:
        tensors = contents(folder / WEIGHTS)
    except SafetensorError as error:
        raise ExportError(f"{folder / WEIGHTS}: no readable weights ({error}); train again, or copy the file again") from error
    shapes = {key: stored.shape for key, stored in tensors.items()}
    read = _lora if kind == "LORA" else _layers if kind in FORMS else _other
    changes = read(config, shapes, folder)
    return Adapter(folder / WEIGHTS, changes, tensors)


def _refuse_unmergeable(config: Mapping[str, Any], folder: Path) -> None:
    if config.get("init_lora_weights", True) not in _PLAIN_STARTS:
        raise ExportError(
            f"{folder}: init_lora_weights={config['init_lora_weights']!r} starts from changed base weights, "
            f"so the adapter can not be merged into the ones on disk; {_INSTEAD}"
        )
    on = sorted(name for name, value in config.items() if name not in _KNOWN and not _is_off(name, value))
    if on:
        raise ExportError(f"{folder}: an adapter with {', '.join(on)} can not be merged tensor by tensor; {_INSTEAD}")


def _is_off(name: str, value: Any) -> bool:
    """Empty, or what peft's LoraConfig has when nobody asked for anything else."""
    from peft import LoraConfig

    defaults = {field.name: field.default for field in fields(LoraConfig)}
    return not value or value == defaults.get(name)


def _lora(config: Mapping[str, Any], shapes: Shapes, folder: Path) -> dict[str, Change]:
    """Every key of the file as a change of one base tensor; a key nobody understands is an error."""
    foreign = [key for key in shapes if not key.startswith(PREFIX)]
    inner = {key.removeprefix(PREFIX): key for key in shapes}
    changes: dict[str, Change] = {}
    used: set[str] = set()
    for name, key in inner.items():
        if name.endswith(_A):
            module = name.removesuffix(_A)
            changes[f"{module}.weight"] = _low_rank(module, config, shapes, folder)
            used |= {name, module + _B, module + _MAGNITUDE}
        elif name.endswith(_ROWS):
            module = name.removesuffix(_ROWS)
            changes[f"{module}.weight"] = Rows(key, _token_indices(module, config["trainable_token_indices"]))
            used.add(name)
        elif _is_saved_module(name, config.get("modules_to_save") or ()):
            changes[name] = Whole(key)
            used.add(name)
    _require_all_known({*foreign, *(inner[name] for name in inner if name not in used)}, changes, folder)
    return changes


def _require_all_known(unknown: Iterable[str], changes: Mapping[str, Change], folder: Path) -> None:
    left = sorted(unknown)
    if left or not changes:
        found = f"{len(left)} tensors of unknown meaning, the first is {left[0]}" if left else "no tensor at all"
        raise ExportError(f"{folder / WEIGHTS}: found {found}; merging would leave them out; {_INSTEAD}")


def _other(config: Mapping[str, Any], shapes: Shapes, folder: Path) -> dict[str, Change]:
    """The same for the kinds whose tensors each stand for themselves, and for AdaLoRA's three."""
    changes: dict[str, Change] = {}
    unknown: list[str] = []
    for key, shape in shapes.items():
        end = next((end for end in _MERGED[config["peft_type"]] if key.startswith(PREFIX) and key.endswith(end)), None)
        if end is None:
            unknown.append(key)
            continue
        module = key.removeprefix(PREFIX).removesuffix(end)
        changes |= _of_tensor(end, key, module, shape=shape, config=config)
    _require_all_known(unknown, changes, folder)
    return changes


def _layers(config: Mapping[str, Any], shapes: Shapes, folder: Path) -> dict[str, Change]:
    """The same for the kinds whose tensors of one layer only say something together, to peft's own layer."""
    form = FORMS[config["peft_type"]]
    if patterns := sorted(name for name, value in config.items() if name.endswith("_pattern") and value):
        raise ExportError(f"{folder}: an adapter with {', '.join(patterns)} can not be merged layer by layer; {_INSTEAD}")
    shared = {name: key for key in shapes for name in form.shared if key.rpartition(".")[2] == name}
    modules: dict[str, dict[str, str]] = {}
    unknown: list[str] = []
    for key in shapes.keys() - shared.values():
        name = next((name for name in form.own if key.startswith(PREFIX) and key.endswith(f".{name}")), None)
        if name is None:
            unknown.append(key)
        else:
            modules.setdefault(key.removeprefix(PREFIX).removesuffix(f".{name}"), {})[name] = key
    ends = (".weight", ".bias") if form.biased else (".weight",)
    changes: dict[str, Change] = {f"{name}{end}": Layered(form, keys | shared, config) for name, keys in modules.items() for end in ends}
    _require_all_known(unknown, changes, folder)
    return changes


def _of_tensor(end: str, key: str, module: str, *, shape: tuple[int, ...], config: Mapping[str, Any]) -> dict[str, Change]:
    """What one tensor of the adapter, whose name ends so, asks of the tensors of one layer."""
    weight, bias = f"{module}.weight", f"{module}.bias"
    match end:
        case ".full_weight" | ".full_bias":
            return {bias if end == ".full_bias" else weight: Whole(key, everywhere=True)}
        case ".ln_tuning_layers.weight" | ".ln_tuning_layers.bias":
            return {bias if end.endswith("bias") else weight: Whole(key)}
        case ".ia3_l":
            scaled: dict[str, Change] = {weight: Scaled(key)}
            return scaled | {bias: ScaledBias(key)} if shape[1] == 1 else scaled
        case ".lora_A":
            stem = key.removesuffix(end)
            # peft's forward divides by the rank at the start, and by a hair more
            scale = config["lora_alpha"] / (config["init_r"] + 1e-5)
            return {weight: LowRank(key, f"{stem}.lora_B", scale, values=f"{stem}.lora_E")}
        case _:
            return {}  # AdaLoRA's B and E, which come with their A


def _low_rank(module: str, config: Mapping[str, Any], shapes: Shapes, folder: Path) -> LowRank:
    from peft.utils.other import get_pattern_key

    a, b, magnitude = (PREFIX + module + suffix for suffix in (_A, _B, _MAGNITUDE))
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    rank: int = ranks.get(get_pattern_key([*ranks], module), config["r"])
    alpha: float = alphas.get(get_pattern_key([*alphas], module), config["lora_alpha"])
    if b not in shapes or shapes[a][0] != rank or shapes[b][-1] != rank:
        raise ExportError(
            f"{folder}: {module} should have rank {rank}, found {shapes[a]} and {shapes.get(b)}; train again, or copy the files again"
        )
    if (magnitude in shapes) != bool(config.get("use_dora")):
        raise ExportError(
            f"{folder}: use_dora={config.get('use_dora')} does not fit the tensors of {module}; copy both adapter files again"
        )
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    return LowRank(a, b, scale, magnitude if magnitude in shapes else None)


def _token_indices(module: str, asked: Mapping[str, list[int]] | list[int]) -> tuple[int, ...]:
    """peft takes a list for the input embedding, or a mapping by the end of a module's name."""
    if isinstance(asked, list):
        return tuple(asked)
    return tuple(next(indices for name, indices in asked.items() if module == name or module.endswith(f".{name}")))


def _is_saved_module(name: str, modules: Iterable[str]) -> bool:
    module = name.rpartition(".")[0]
    return any(f".{module}.".endswith(f".{saved}.") or f".{saved}." in f".{module}." for saved in modules)
