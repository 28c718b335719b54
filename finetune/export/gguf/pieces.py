"""The vocabulary of a SentencePiece kind of tokenizer as llama.cpp wants it, out of tokenizer.json alone.

llama.cpp's converter reads SentencePiece's own file for these, which says more than training used: a space before every text. Without that
file it writes pieces of equal rank, which llama.cpp joins in another order.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from finetune.export.gguf import Conversion

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "\u2581"


def in_pieces(source: Path) -> bool:
    """Whether the checkpoint's tokenizer.json describes such a tokenizer: joined characters, and bytes for those it does not have."""
    model = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    return model["type"] == "BPE" and bool(model.get("byte_fallback"))


def write_pieces(module: Any, writer: Any, task: Conversion, *, entries: int) -> None:
    """Tokens, ranks and kinds of the checkpoint's tokenizer; `entries`: rows of its embedding, some of which may have no token.

    A piece ranks as the merge that makes it. llama.cpp joins any two neighbours that are a piece together, the tokenizer those of its
    list, which is the same for one that was made by SentencePiece; the export compares the tokens of texts. An added token that is text is
    written out as it stands, so runs of SentencePiece's sign for a space (CodeGemma) have to be ordinary pieces.
    """
    description = json.loads((task.source / "tokenizer.json").read_text(encoding="utf-8"))
    model, kinds = description["model"], module.TokenType
    names = [f"[PAD{index}]" for index in range(entries)]
    types = [int(kinds.UNUSED)] * entries
    for piece, index in model["vocab"].items():
        names[index] = piece
        types[index] = int(kinds.BYTE if _BYTE.fullmatch(piece) else kinds.UNKNOWN if piece == model.get("unk_token") else kinds.NORMAL)
    for token in description["added_tokens"]:
        names[token["id"]] = token["content"]
        if types[token["id"]] != kinds.UNKNOWN:
            text = kinds.NORMAL if _SPACE in token["content"] else kinds.USER_DEFINED
            types[token["id"]] = int(kinds.CONTROL if token["special"] else text)
    ranks = _ranks(model["merges"])
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([name.encode() for name in names])
    writer.add_token_scores([float(-ranks.get(name, len(ranks))) for name in names])
    writer.add_token_types(types)
    writer.add_add_space_prefix(False)
    module.SpecialVocab(task.source, n_vocab=entries).add_to_gguf(writer)


def _ranks(merges: list[Any]) -> dict[str, int]:
    """The rank of each piece that a merge makes; tokenizer.json has merges as pairs, or as two pieces with a space between."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        first, second = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault(first + second, rank)
    return ranks
