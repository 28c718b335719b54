"""The tokenizer files that an export ships, and what AutoTokenizer makes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from finetune.base import BaseFolder
from finetune.errors import ExportError
from finetune.families import describe_tokenizer
from finetune.files import READABLE
from finetune.opening import around, beginning, without_first_space

_KEYS = ("bos_token", "eos_token", "unk_token", "pad_token", "chat_template", "add_prefix_space")
_TEXT = "def area(r):\n    return 3.14159 * r**2  # \u00e9\t\u4e16\u754c\r\n"


def write_tokenizer(folder: Path, base: BaseFolder) -> None:
    """tokenizer.json to the byte (but for the recipe's added tokens, a space before every text, and where it does not itself begin a text
    as its tokenizer_config.json says), a tokenizer_config.json that transformers 4 reads as well, a chat template if there is one."""
    found = json.loads(base.tokenizer.read_text(encoding="utf-8"))
    description = describe_tokenizer(base.tokenizer, base.family)
    first = base.family.opening
    if around(description) != ([] if first is None else [first], []):
        description["post_processor"] = None if first is None else beginning(first, token_ids(base)[first])
    if description != found:
        write_readable(folder / "tokenizer.json", description)
    else:
        _copy(base.tokenizer, folder / "tokenizer.json")
    spaced = found != without_first_space(found)
    write_readable(folder / "tokenizer_config.json", _tokenizer_config(base) | ({"add_prefix_space": False} if spaced else {}))
    template = base.path / "chat_template.jinja"
    if template.is_file():
        _copy(template, folder / template.name)


def _tokenizer_config(base: BaseFolder) -> dict[str, Any]:
    """PreTrainedTokenizerFast: it alone keeps the pre-tokeniser of tokenizer.json for every model type."""
    found = json.loads((base.path / "tokenizer_config.json").read_text(encoding="utf-8"))
    extra = found.get("additional_special_tokens") or found.get("extra_special_tokens") or []
    config = {key: found[key] for key in _KEYS if found.get(key) is not None}
    config.setdefault("pad_token", base.family.pad)
    if base.family.opening is not None:
        config |= {"add_bos_token": True, "bos_token": base.family.opening}
    elif "add_bos_token" in found:
        config["add_bos_token"] = False
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    special = [*(extra if isinstance(extra, list) else []), *(token.text for token in base.family.added)]
    if special:
        config["additional_special_tokens"] = special
    if base.context_length is not None:
        config["model_max_length"] = base.context_length
    return config


def token_ids(base: BaseFolder) -> dict[str, int]:
    """Every token of the base and its id."""
    tokenizer = describe_tokenizer(base.tokenizer, base.family)
    ids: dict[str, int] = dict(tokenizer["model"]["vocab"])
    return ids | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}


def check_readers(base: BaseFolder) -> None:
    """Raises ExportError where AutoTokenizer would read what an export ships otherwise than training does; needs no weights."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        _copy(base.path / "config.json", folder / "config.json")
        write_tokenizer(folder, base)
        check_tokenizer(base, folder)


def check_tokenizer(base: BaseFolder, folder: Path) -> None:
    """AutoTokenizer on the export must give the ids that training used: sentinels and stop tokens, digits one by one, and what a text
    begins with when nobody says otherwise."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    sentinels = base.family.sentinels
    described = Tokenizer.from_str(json.dumps(describe_tokenizer(base.tokenizer, base.family)))
    wanted = described.encode(_TEXT + "".join(sentinels), add_special_tokens=False).ids
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = token_ids(base)
    opens = [] if base.family.opening is None else [ids[base.family.opening]]
    if (found := tokenizer(_TEXT)["input_ids"]) != (asked := opens + described.encode(_TEXT, add_special_tokens=False).ids):
        raise ExportError(
            f"{folder}: AutoTokenizer begins a text with {found[:2]} and ends it with {found[-1]}, training with {asked[:2]} and "
            f"{asked[-1]}; report this with the base model's name"
        )
    changed = [token for token in sentinels if tokenizer.convert_tokens_to_ids(token) != ids[token]]
    if changed or tokenizer(_TEXT + "".join(sentinels), add_special_tokens=False)["input_ids"] != wanted:
        what = f" ({changed[0]})" if changed else ""
        raise ExportError(
            f"{folder}: AutoTokenizer reads the exported tokenizer otherwise than training did{what}; "
            "report this with the base model's name"
        )


def write_readable(path: Path, value: dict[str, Any]) -> None:
    """JSON that everybody on the machine may read."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    path.chmod(READABLE)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(READABLE)
