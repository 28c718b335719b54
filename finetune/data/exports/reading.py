"""What a trainer that tokenises text itself makes of it: control tokens that are spelt out become control tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Tokens(NamedTuple):
    """The texts a trainer tokenises apart for one sample; `special`: with what the tokenizer itself puts around each, if anything.

    `whole` False: they are put into a template, so that no token of ours but those of plain text may be among them.
    """

    texts: Sequence[str]
    special: bool = False
    whole: bool = True


class Reader:
    """The model's own tokenizer, as transformers loads it from tokenizer.json."""

    def __init__(self, tokenizer_json: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(tokenizer_json))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def ids(self, tokens: Tokens) -> list[int]:
        """The ids that the trainer sees."""
        encodings = self._tokenizer.encode_batch_fast(list(tokens.texts), add_special_tokens=tokens.special)
        return [number for encoding in encodings for number in encoding.ids]
