"""Families of models, and how a model finds its row in the table."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune.errors import ModelError
from finetune.families.family import PSM, AddedToken, CommitTokens, Family, FimTokens, JupyterTokens, Layout, RepositoryFormat
from finetune.families.table import FAMILIES, UNDERSCORE
from finetune.opening import without_first_space

__all__ = [
    "FAMILIES",
    "NAMES",
    "PSM",
    "AddedToken",
    "CommitTokens",
    "Family",
    "FimTokens",
    "JupyterTokens",
    "Layout",
    "RepositoryFormat",
    "describe_tokenizer",
    "find_family",
    "plain_family",
    "with_fim_tokens",
]


def plain_family(end: str) -> Family:
    """The row `none`: a model without FIM tokens, whose texts end in `end` (the tokenizer's eos token)."""
    return Family(
        name="none",
        model_types=(),
        end=end,
        stop=(end,),
        fim=None,
        repo_name=None,
        file_sep=None,
        lora_targets=(),
        licence="see the base model",
    )


def with_fim_tokens(row: Family, ids: Mapping[str, int]) -> Family:
    """The row `none` with StarCoder's fill-in-the-middle tokens: those in the vocabulary as they are, the others added behind it.

    StarCoder's names, since llama.cpp knows these by sight. Raises ModelError for a family that has tokens of its own.
    """
    if row.fim is not None:
        raise ModelError(f"model.add_fim_tokens: family {row.name} has fill-in-the-middle tokens of its own; leave the key out")
    fim = UNDERSCORE
    missing = [token for token in fim.all if token not in ids]
    first = 1 + max(ids.values())
    if missing and first != len({*ids.values()}):
        raise ModelError(
            "model.add_fim_tokens: tokenizer.json leaves ids out, and the tokenizers library would give new tokens others than those "
            "behind the last; leave the key out and write data.miners=[{kind: fim, rate: 0}], or choose another base model"
        )
    return replace(row, fim=fim, added=tuple(AddedToken(token, first + number) for number, token in enumerate(missing)))


def describe_tokenizer(tokenizer_json: Path, family: Family) -> dict[str, Any]:
    """The content of tokenizer.json, with the family's added tokens in it, without a space that it would put before a text."""
    description = without_first_space(json.loads(tokenizer_json.read_text(encoding="utf-8")))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    description["added_tokens"] += [{"id": token.id, "content": token.text, **flags} for token in family.added]
    return description


NAMES: tuple[str, ...] = (*(family.name for family in FAMILIES), "none")


def find_family(name: str, model_type: str, vocabulary: Collection[str], *, eos: str | None) -> Family:
    """The row for a model; `name` is a row's name or "auto". Raises ModelError when the tokenizer lacks its tokens.

    "auto" takes the first row of this architecture whose sentinels and marks all stand in the vocabulary, else `none`.
    """
    if name == "none":
        return _plain(eos)
    rows = [row for row in FAMILIES if row.name == name or (name == "auto" and model_type in row.model_types)]
    for row in rows:
        marks = row.marks if name == "auto" else ()
        missing = [token for token in (*row.sentinels, *marks) if token not in vocabulary]
        if not missing:
            return row
        if name != "auto":
            raise ModelError(
                f"model.family={name}: the tokenizer has no {', '.join(missing)}; "
                "write model.family=auto, or the folder of a model of that family"
            )
    return _plain(eos)


def _plain(eos: str | None) -> Family:
    if eos is None:
        raise ModelError("the tokenizer names no eos token; add eos_token to tokenizer_config.json")
    return plain_family(eos)
