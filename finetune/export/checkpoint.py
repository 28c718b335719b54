"""The small files of a checkpoint, written so that old and new readers see the same model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from finetune.base import BaseFolder
from finetune.errors import ExportError
from finetune.files import READABLE
from finetune.merge import INDEX
from finetune.model import read_config
from finetune.tokenizer_files import token_ids, write_readable, write_tokenizer

_MACHINE_KEYS = ("_name_or_path", "quantization_config", "auto_map", "transformers_version")
_OWN_WORDS = {"gpt_neox": {"rotary_pct": "partial_rotary_factor", "rotary_emb_base": "rope_theta"}}  # of rope_parameters, in version 4
_LEFTOVERS = ("lora_", "base_layer", "modules_to_save", "absmax", "quant_map", "quant_state", "nested_", ".SCB", "weight_format")


def write_small_files(folder: Path, base: BaseFolder, *, architecture: str, dtype: str) -> None:
    """config.json, generation_config.json, tokenizer files, chat template."""
    write_readable(folder / "config.json", _config(base, architecture=architecture, dtype=dtype, pad=token_ids(base)[base.family.pad]))
    write_generation(folder, base)
    write_tokenizer(folder, base)


def write_generation(folder: Path, base: BaseFolder) -> None:
    """generation_config.json."""
    ids = token_ids(base)
    stops, pad = [ids[token] for token in base.family.stop], ids[base.family.pad]
    write_readable(folder / "generation_config.json", _generation(base, stops=stops, pad=pad))


def _config(base: BaseFolder, *, architecture: str, dtype: str, pad: int) -> dict[str, Any]:
    """The base's configuration with every architecture key spelt out, in the words of transformers 5 and of 4.

    transformers 4 reads rope_theta, partial_rotary_factor and torch_dtype, 5 writes rope_parameters and dtype alone; a 4 that finds no
    rope_theta takes 10000 without a word. Defaults differ between versions too, hence all keys.
    """
    from transformers import PreTrainedConfig

    ours = read_config(base).to_dict()
    common = PreTrainedConfig().to_dict()
    kept = {key: value for key, value in ours.items() if key not in _MACHINE_KEYS and not (key in common and common[key] == value)}
    kept |= {key: ours[key] for key in ("tie_word_embeddings", "bos_token_id", "eos_token_id") if key in ours}
    kept |= {"architectures": [architecture], "dtype": dtype, "torch_dtype": dtype, "use_cache": True}
    kept["pad_token_id"] = pad if kept.get("pad_token_id") is None else kept["pad_token_id"]
    rope = kept.get("rope_parameters")
    if rope and "rope_theta" in rope:
        words = {"rope_theta": "rope_theta", "partial_rotary_factor": "partial_rotary_factor", **_OWN_WORDS.get(kept["model_type"], {})}
        kept |= {word: rope[key] for word, key in words.items() if key in rope}
        if rope.get("rope_type", "default") != "default":
            kept["rope_scaling"] = {key: value for key, value in rope.items() if key != "rope_theta"}
    return kept


def _generation(base: BaseFolder, *, stops: list[int], pad: int) -> dict[str, Any]:
    """Every stop token of the family ends an answer; no sampling settings: the caller chooses them."""
    config = json.loads((base.path / "config.json").read_text(encoding="utf-8"))
    own = config.get("eos_token_id")
    ends = [*stops, *(own if isinstance(own, list) else [own])]
    written: dict[str, Any] = {"eos_token_id": list(dict.fromkeys(end for end in ends if end is not None)), "pad_token_id": pad}
    return written | ({} if config.get("bos_token_id") is None else {"bos_token_id": config["bos_token_id"]})


def check_sound(folder: Path, *, tied: set[str], private: tuple[Path, ...]) -> None:
    """Raises ExportError for a checkpoint that another machine could not use, or that tells where it was made.

    `tied`: tensors that must not stand in the files because they are kept under another name; `private`: folders nobody else has.
    """
    from safetensors import safe_open

    places: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
        faults = [key for key in keys if key in places or key in tied or any(mark in key for mark in _LEFTOVERS)]
        if faults:
            raise ExportError(f"{path}: {faults[0]} has no place in a merged checkpoint; delete the folder and export again")
        places |= dict.fromkeys(keys, path.name)
    _check_config(folder / "config.json")
    index = folder / INDEX
    if index.exists() and json.loads(index.read_text())["weight_map"] != places:
        raise ExportError(f"{index}: does not list the tensors of the files beside it; delete the folder and export again")
    check_no_paths(folder, private)
    closed = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o777 != READABLE]
    if closed:
        raise ExportError(f"{closed[0]}: not everybody may read it, and others are to; delete the folder and export again")


def _check_config(path: Path) -> None:
    """Raises ExportError where an old reader would see another model than a new one."""
    config = json.loads(path.read_text(encoding="utf-8"))
    rope = config.get("rope_parameters") or {}
    pairs = {"rope_theta": rope.get("rope_theta"), "torch_dtype": config.get("dtype")}
    odd = [key for key, value in pairs.items() if value != config.get(key)]
    odd += [key for key in ("quantization_config", "auto_map") if key in config]
    if odd:
        raise ExportError(
            f"{path}: {odd[0]} is {config.get(odd[0])!r}, which readers understand differently; report this with the base's name"
        )


def check_no_paths(folder: Path, private: tuple[Path, ...]) -> None:
    """Raises ExportError where a text file names a folder of this machine."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.suffix in (".safetensors", ".gguf") or path.name == "tokenizer.json":
            continue
        text = path.read_text(encoding="utf-8")
        named = [place for place in private if re.search(rf"(?<![\w./]){re.escape(str(place))}(?!\w)", text)]
        if named:
            raise ExportError(f"{path.name}: would carry the path {named[0]} to other machines; take it out of the base model's own files")
