"""The token that a tokenizer puts before every text (`<s>`, `<|begin_of_text|>`): what pretraining began each document with.

Servers put it there by themselves, llama.cpp before a fill-in-the-middle prompt too, so training does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def opening(description: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """The token, None where there is none; of the contents of tokenizer.json and tokenizer_config.json.

    `add_bos_token` counts before the template of tokenizer.json, as it does for llama.cpp's converter and transformers 4; transformers 5
    looks at the template alone, so an export brings the two together.
    """
    asked, (before, _) = config.get("add_bos_token"), around(description)
    first = before[0] if before else None
    if not isinstance(asked, bool):
        return first
    bos = config.get("bos_token")
    return (bos["content"] if isinstance(bos, dict) else bos) or first if asked else None


def around(description: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The tokens that tokenizer.json itself puts before and after a text."""
    processor = description.get("post_processor") or {}
    for each in processor.get("processors", [processor]):
        if each.get("type") == "TemplateProcessing":
            parts = [part.get("SpecialToken", {}).get("id") for part in each["single"]]
            text = parts.index(None)
            return parts[:text], parts[text + 1 :]
        if each.get("type") == "RobertaProcessing":
            return [each["cls"][0]], [each["sep"][0]]
    return [], []


def beginning(token: str, number: int) -> dict[str, Any]:
    """tokenizer.json's `post_processor` that puts this token, whose id is `number`, before every text and does nothing else."""

    def of(*texts: str) -> list[dict[str, Any]]:
        opened = ({"SpecialToken": {"id": token, "type_id": 0}}, *({"Sequence": {"id": text, "type_id": 0}} for text in texts))
        return [*opened]

    known = {token: {"id": token, "ids": [number], "tokens": [token]}}
    return {"type": "TemplateProcessing", "single": of("A"), "pair": of("A", "B"), "special_tokens": known}


def without_first_space(description: Mapping[str, Any]) -> dict[str, Any]:
    """tokenizer.json's content without the space that SentencePiece's tokenizers put before every text, and take from one they decode.

    A sample is tokenised piece by piece, so each piece would get one, and an answer would lose its own. A family whose own prompts
    have that space writes it out (families: `lead`).
    """
    spaceless = {
        "normalizer": _steps(description.get("normalizer"), "normalizers", drop="Prepend"),
        "pre_tokenizer": _steps(description.get("pre_tokenizer"), "pretokenizers"),
    }
    if all(description.get(part) == value for part, value in spaceless.items()):
        return dict(description)
    return {**description, **spaceless, "decoder": _steps(description.get("decoder"), "decoders", drop="Strip")}


def _steps(part: Any, name: str, *, drop: str | None = None) -> Any:
    """A part of tokenizer.json that adds no space: the very part where it adds none, None where nothing is left of it."""
    if part is None or part["type"] == drop:
        return None
    if part["type"] == "Sequence":
        inner = [step for step in (_steps(each, name, drop=drop) for each in part[name]) if step is not None]
        if inner == part[name]:
            return part
        return part | {name: inner} if inner else None
    if part["type"] == "Metaspace" and part.get("prepend_scheme") != "never":
        return {key: value for key, value in part.items() if key != "add_prefix_space"} | {"prepend_scheme": "never"}
    if part["type"] == "ByteLevel" and part.get("add_prefix_space", True):
        return part | {"add_prefix_space": False}
    return part
