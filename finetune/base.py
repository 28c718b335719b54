"""A base model's folder, read without torch: where it is, its family, its tokenizer, its digest."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetune.errors import ModelError
from finetune.families import Family, find_family, with_fim_tokens
from finetune.files import of_user
from finetune.opening import opening, without_first_space
from finetune.recipe import ModelSection

DEMO = Path(__file__).parent / "demo"
HUB_ID = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?")
INDEX = "model.safetensors.index.json"  # as transformers names it
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class BaseFolder:
    """A base model as its files describe it; lengths in tokens.

    `vocabulary_size` counts the tokens that the recipe adds; `embedded` are those that the weights on disk have rows for. `quantised`: its
    files are.
    """

    path: Path
    name: str
    revision: str | None
    family: Family
    model_type: str
    vocabulary_size: int
    embedded: int
    context_length: int | None
    sliding_window: int | None
    digest: str
    quantised: bool

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"


def read_base(model: ModelSection) -> BaseFolder:
    """The base model a recipe names. Raises ModelError when a file is missing or the tokenizer does not fit the family."""
    folder = locate(model.path, model.revision)
    config = _json(folder, "config.json")
    tokenizer = _json(folder, "tokenizer.json")
    weights = weight_files(folder)
    ids = _ids(folder, tokenizer)
    model_type = config.get("model_type", "")
    size = config.get("vocab_size", 0)
    highest = max(ids.values())
    if highest >= size:
        raise ModelError(
            f"{folder}: tokenizer.json has ids up to {highest} but the model embeds {size} tokens; copy the model's own tokenizer.json here"
        )
    family = find_family(model.family, model_type, ids, eos=_eos(folder))
    opens = opening(tokenizer, _json(folder, "tokenizer_config.json"))
    if opens is not None:
        family = replace(family, opening=_known(opens, ids, folder))
    if folder == DEMO:
        family = replace(family, placeholders=())  # its rows for them were never trained: it saw them as letters
    if model.add_fim_tokens:
        family = with_fim_tokens(family, ids)
    return BaseFolder(
        path=folder,
        name=model.path,
        revision=model.revision,
        family=family,
        model_type=model_type,
        vocabulary_size=max([size, *(1 + token.id for token in family.added)]),
        embedded=size,
        context_length=config.get("max_position_embeddings") or config.get("n_positions"),
        sliding_window=config.get("sliding_window"),
        digest=_with_tokens(
            _digest([folder / "config.json", folder / "tokenizer.json"], weights),
            family,
            spaced=tokenizer != without_first_space(tokenizer),
            end="" if _ends_by(config.get("eos_token_id"), ids.get(family.end)) else family.end,
        ),
        quantised="quantization_config" in config,
    )


def _ends_by(said: object, end: int | None) -> bool:
    """Whether `config.json`, which is in the digest, says this end too: one id, or several as models for chats have."""
    return end in said if isinstance(said, list) else said == end


def locate(path: str, revision: str | None) -> Path:
    """The folder of a base model: the embedded one, a folder on disk, or a hub id in the local cache. Never the network."""
    if path == "demo":
        return DEMO
    if of_user(path).is_dir():
        return of_user(path).resolve()
    if of_user(path).is_file():
        raise ModelError(f"model.path={path}: a file; write the folder that holds config.json, tokenizer.json and *.safetensors")
    cached = _in_hub_cache(path, revision or "main")
    if cached is None:
        raise ModelError(
            f"model.path={path}: neither a folder nor a model in the local cache; write model.path=FOLDER with config.json in it "
            "(for a run whose base was moved: its new place), or fetch it once on a machine with a network "
            "(hf download ORGANISATION/MODEL) and copy the folder here"
        )
    return cached


def _in_hub_cache(name: str, revision: str) -> Path | None:
    """A model's folder in the hub's cache on this machine.

    Read here, for importing the hub's client takes longer than the whole check of a recipe.
    """
    from huggingface_hub import constants

    if not HUB_ID.fullmatch(name):
        return None
    folder = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    named = folder / "refs" / revision
    commit = named.read_text(encoding="ascii").strip() if named.is_file() else revision
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers loads from a folder, in name order; copies in other layouts are not among them."""
    return [folder / name for name in _weight_names(folder) if (folder / name).is_file()]


def _weight_names(folder: Path) -> list[str]:
    if (folder / "model.safetensors").is_file() or not (folder / INDEX).is_file():
        return ["model.safetensors"]
    index = _json(folder, INDEX).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise ModelError(f"{folder / INDEX}: says no 'weight_map'; copy the file again")
    return sorted({*map(str, index.values())})


def require_weights(folder: Path) -> None:
    """Raises ModelError when a weight file is missing or not whole, by its size alone: before a build, not after."""
    names, files = _weight_names(folder), weight_files(folder)
    if not files:
        raise ModelError(f"{folder}: {_no_weights(folder)}")
    if missing := sorted({*names} - {path.name for path in files}):
        raise ModelError(f"{folder}: {len(missing)} of {len(names)} weight files are missing, the first is {missing[0]}; copy every file")
    for path in files:
        _check_whole(path)


def _no_weights(folder: Path) -> str:
    """What lies there in place of weights, and what to do with it."""
    for pickled in sorted(folder.glob("pytorch_model*.bin")):
        once = "python -c 'import sys, transformers as t; t.AutoModelForCausalLM.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])'"
        return f"its weights are in {pickled.name}; write them as safetensors once: {once} {folder}"
    for packed in sorted(folder.glob("*.gguf")):
        return f"its weights are in {packed.name}, which can be served and not trained; write model.path of the model it was made from"
    return f"no weights (no model.safetensors and no {INDEX}); write model.path=FOLDER of a complete base model"


def _check_whole(path: Path) -> None:
    """By the file's own head: eight bytes of its length, then where each tensor ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if first == b"version ":
            raise ModelError(f"{path}: a Git LFS pointer in the place of the weights; type git lfs pull there, or copy the file itself")
        length = int.from_bytes(first, "little")
        try:
            head = json.loads(file.read(length)) if len(first) == 8 and 8 + length <= size else None
        except ValueError:
            head = None
    if not isinstance(head, dict):
        raise ModelError(f"{path}: no safetensors file; copy the file again")
    try:
        end = 8 + length + max((entry["data_offsets"][1] for name, entry in head.items() if name != "__metadata__"), default=0)
    except (KeyError, TypeError, IndexError) as error:
        raise ModelError(f"{path}: no safetensors file; copy the file again") from error
    if end != size:
        raise ModelError(f"{path}: {size:,} bytes of {end:,}; copy the file again")


def _ids(folder: Path, tokenizer: dict[str, Any]) -> dict[str, int]:
    """Every token of tokenizer.json and its id."""
    model = tokenizer.get("model", {})
    vocabulary, kind = model.get("vocab"), model.get("type", "BPE")
    if kind != "BPE" or not isinstance(vocabulary, dict) or not vocabulary:
        raise ModelError(
            f"{folder}/tokenizer.json: no vocabulary of byte-level BPE in it, found {kind}; write model.path of a model for code"
        )
    added: dict[str, int] = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
    return vocabulary | added


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if name == "tokenizer.json" and (folder / "tokenizer.model").is_file():
            once = "python -c 'import sys, transformers as t; t.AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])'"
            raise ModelError(f"{folder}: no tokenizer.json beside tokenizer.model; write it once: {once} {folder}") from error
        raise ModelError(f"{folder}: no {name}; write model.path=FOLDER of a complete base model") from error
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}:{error.lineno}: no valid JSON ({error.msg}); copy the file again") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: no text ({error.reason}); copy the file again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: found a {type(content).__name__}, not a mapping; copy the file again")
    return content


def _eos(folder: Path) -> str | None:
    token = _json(folder, "tokenizer_config.json").get("eos_token")
    eos: str | None = token["content"] if isinstance(token, dict) else token
    return eos


def _known(token: str, ids: dict[str, int], folder: Path) -> str:
    if token not in ids:
        raise ModelError(
            f"{folder}/tokenizer_config.json: every text is to begin with {token}, which tokenizer.json does not have; "
            "copy both files of one model"
        )
    return token


def _with_tokens(digest: str, family: Family, *, spaced: bool, end: str) -> str:
    """Another base: an adapter of the one lacks rows for the other, or has too many, or was trained on texts that begin or end otherwise.

    `end`: what a text ends in, where config.json, of which the digest is made, says another or none. A row of the table has its own.
    """
    ending = f"ends in {end}" if end and family.name == "none" else ""
    for tokens in (family.added, family.opening, "without the first space" if spaced else "", ending):
        if tokens:
            digest = hashlib.sha256(json.dumps([digest, tokens]).encode()).hexdigest()
    return digest


def _digest(small: list[Path], weights: list[Path]) -> str:
    """SHA-256 of the small files whole, and of each weight file its name, size and 64 blocks of 64 KiB spread over it.

    Whole weights would cost a minute for 15B; a changed tensor that misses every block keeps its size, which no tool does.
    """
    total = hashlib.sha256()
    for path in small:
        total.update(path.read_bytes())
    for path in weights:
        size = path.stat().st_size
        total.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for offset in range(0, size, max(_BLOCK, size // 64)):
                file.seek(offset)
                total.update(file.read(_BLOCK))
    return total.hexdigest()
