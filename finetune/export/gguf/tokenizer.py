"""What llama.cpp must be told of a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# llama.cpp knows a byte-level pre-tokeniser by a name, and its converter recognises published vocabularies by a hash. A vocabulary of
# one's own is in no list; its pre-tokeniser may still be one that has a name.
_NAMED: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}],
    "starcoder": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    ],
}
_IGNORED = ("trim_offsets",)  # changes offsets, never ids
_PLAIN: dict[str, Any] = {
    "type": "BPE",
    "dropout": None,
    "byte_fallback": False,
    "ignore_merges": False,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
}


def pretokenizer_name(tokenizer_json: Path) -> str | None:
    """llama.cpp's name of the pre-tokeniser, when it does step by step what that name stands for; else None."""
    description: dict[str, Any] = json.loads(tokenizer_json.read_text(encoding="utf-8"))
    model = description["model"]
    plain = all((model.get(key) or None) == (value or None) for key, value in _PLAIN.items())
    if not plain or description.get("normalizer") is not None:
        return None
    found = _steps(description.get("pre_tokenizer"))
    return next((name for name, steps in _NAMED.items() if steps == found), None)


def _steps(pretokenizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if pretokenizer is None:
        return []
    steps = pretokenizer["pretokenizers"] if pretokenizer["type"] == "Sequence" else [pretokenizer]
    return [{key: value for key, value in step.items() if key not in _IGNORED} for step in steps]
