"""What a LoRA adapter on disk asks of the base's weights, tensor by tensor; nothing in it is passed over.

Shapes: R rank, I inputs, O outputs. A weight is OI, or IO where a layer keeps it transposed (GPT-2's Conv1D).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from finetune.errors import ExportError
from finetune.methods import CONFIG, WEIGHTS
from finetune.quiet import quiet_libraries

if TYPE_CHECKING:
    import torch

Read: TypeAlias = "Callable[[str], torch.Tensor]"

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


@dataclass(frozen=True, slots=True)
class LowRank:
    """Add scale x B_OR @ A_RI; with a magnitude_O every output's row is brought to that length after (DoRA)."""

    a: str
    b: str
    scale: float
    magnitude: str | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Put other rows at these indices of an embedding."""

    key: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """Put another tensor in its place."""

    key: str


Change = LowRank | Rows | Whole


@dataclass(frozen=True, slots=True)
class Adapter:
    """The changes of one adapter, by the name of the base's tensor."""

    weights: Path
    changes: Mapping[str, Change]


def read_adapter(folder: Path) -> Adapter:
    """The adapter in `folder`. Raises ExportError for one whose effect can not be written into the base's weights."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ExportError(f"{folder}: no adapter lies here ({name} is missing); train first: finetune train RECIPE")
    quiet_libraries()
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    _refuse_unmergeable(config, folder)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            keys = sorted(file.keys())
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in keys}
    except SafetensorError as error:
        raise ExportError(f"{folder / WEIGHTS}: no readable weights ({error}); train again, or copy the file again") from error
    return Adapter(folder / WEIGHTS, _changes(config, shapes, folder))


def _refuse_unmergeable(config: Mapping[str, Any], folder: Path) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ExportError(f"{folder}: a {kind} adapter can not be merged into the weights; {_INSTEAD}")
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


def _changes(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], folder: Path) -> dict[str, Change]:
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
    unknown = sorted({*foreign, *(inner[name] for name in inner if name not in used)})
    if unknown or not changes:
        found = f"{len(unknown)} tensors of unknown meaning, the first is {unknown[0]}" if unknown else "no tensor at all"
        raise ExportError(f"{folder / WEIGHTS}: found {found}; merging would leave them out; {_INSTEAD}")
    return changes


def _low_rank(module: str, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], folder: Path) -> LowRank:
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


def apply(change: Change, weight: torch.Tensor, *, read: Read, strength: float, transposed: bool) -> torch.Tensor:
    """The changed weight; `weight` is float32, IO if `transposed`, and `read` gives the adapter's tensors by key."""
    match change:
        case LowRank() if transposed:
            return _add_low_rank(change, weight.T, read=read, strength=strength).T
        case LowRank():
            return _add_low_rank(change, weight, read=read, strength=strength)
        case Rows():
            merged = weight.clone()
            merged[list(change.indices)] = _same_shape(read(change.key), weight[list(change.indices)], change.key)
            return merged
        case Whole():
            return _same_shape(read(change.key), weight, change.key)


def _same_shape(change: torch.Tensor, weight: torch.Tensor, key: str) -> torch.Tensor:
    """The change as the weight's number format; torch would stretch a wrong shape in silence."""
    if change.shape != weight.shape:
        raise ExportError(
            f"adapter: {key} changes a tensor of shape {tuple(change.shape)}, the base has {tuple(weight.shape)}; train again on this base"
        )
    return change.to(weight)


def _add_low_rank(change: LowRank, weight_OI: torch.Tensor, *, read: Read, strength: float) -> torch.Tensor:
    """In the order of peft's own in-memory merge, so that float32 results are equal to the bit."""
    delta_OI = read(change.b).to(weight_OI) @ read(change.a).to(weight_OI)
    merged_OI = weight_OI + _same_shape(delta_OI, weight_OI, change.b) * (change.scale * strength)
    if change.magnitude is None:
        return merged_OI
    factor_O = read(change.magnitude).to(weight_OI) / merged_OI.norm(dim=1)
    scaled: torch.Tensor = factor_O.view(-1, 1) * merged_OI
    return scaled
