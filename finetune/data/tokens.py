"""Text to token ids, as fast as this machine can, checked against the reference.

fastokens gives the ids of Hugging Face's `tokenizers` in about a quarter of its CPU time. It is young, so it is compared with that
reference when it starts: on texts that tokenizers are known to differ on, then on the first documents. What is not equal is warned
of, and the reference does the rest of the work.
"""

from __future__ import annotations

import json
import warnings
from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

TYPECODE = "i"  # array type code: 4 bytes a token where a list of Python integers takes 36
PROVEN_AFTER = 200_000  # characters of the first documents that both tokenise
_SHORT = 1024  # characters: a prompt's text, for which the fast tokenizer is not worth its start
_HARD = (
    "",
    " ",
    "\n",
    "\r\n\r\n",
    "\t\tif (a == b)  {  // c\r\n",
    "0123 4.5e-6 0xff v1.2.3",
    "don't I'LL we've it'S",
    "é e\u0301 ü ﬁ Ⅷ ² ½ ß İ",
    "日本語のコード, 한국어, العربية, עברית",
    "😀👩\u200d💻🏳️\u200d🌈 \u200b\u00a0\u3000\ufeff",
    "<|endoftext|> <fim_prefix><fim_middle>",
    "a" * 40 + "=" * 70 + " " * 33 + "\n" * 9,
)


class TextTokenizer:
    """The ids of texts by a description that holds no control token that a text could become.

    `description` is tokenizer.json's content; what it marks as special is never found in a text.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        from tokenizers import Tokenizer

        unchanged = {key: value for key, value in description.items() if key not in {"post_processor", "truncation", "padding"}}
        self.reference: Any = Tokenizer.from_str(json.dumps(unchanged))
        self.reference.encode_special_tokens = True
        self._plain = {**unchanged, "added_tokens": [token for token in description["added_tokens"] if not token["special"]]}
        self._to_check = PROVEN_AFTER
        self._gave_up = False

    @property
    def engine(self) -> Literal["fastokens", "tokenizers"]:
        """Which library tokenises long texts."""
        return "tokenizers" if self._fast is None else "fastokens"

    def one(self, text: str) -> list[int]:
        """The ids of one text."""
        if len(text) < _SHORT:
            ids: list[int] = self.reference.encode(text, add_special_tokens=False).ids
            return ids
        return self.many([text])[0].tolist()

    def many(self, texts: Sequence[str]) -> list[array[int]]:
        """The ids of many texts, on every core."""
        fast = self._fast
        if fast is None:
            return self._by_reference(texts)
        ids, ends = _flat(fast, texts)
        found = [_array(ids[4 * start : 4 * end]) for start, end in zip(ends[:-1], ends[1:], strict=True)]
        return self._checked(texts, found) if self._to_check > 0 else found

    def starts(self, text: str) -> Sequence[int]:
        """Where each token of the text begins, in characters; a token within a character begins where the character does."""
        lengths = self._lengths if len(text) >= _SHORT else None
        if lengths is None:
            return [start for start, _ in self.reference.encode(text, add_special_tokens=False).offsets]
        return _starts(text, self.many([text])[0], lengths)

    @cached_property
    def _started(self) -> Any:
        """The fast tokenizer, None where there is none for this machine or this tokenizer; proven on the hard texts."""
        try:
            from fastokens import Tokenizer

            fast = Tokenizer.from_json_str(json.dumps(self._plain))
            found = [_array(ids) for ids in _parts(fast, _HARD)]
        except (ImportError, NotImplementedError, ValueError, RuntimeError) as error:
            self._give_up(f"it can not be used here ({' '.join(str(error).split())[:200]})")
            return None
        if found != self._by_reference(_HARD):
            self._give_up("it gives other ids")
            return None
        return fast

    @property
    def _fast(self) -> Any:
        return None if self._gave_up else self._started

    @cached_property
    def _lengths(self) -> np.ndarray | None:
        """The bytes of each token by id; None where the tokens of a text are not its bytes in order, as after a normaliser."""
        import numpy as np

        if self._fast is None or self._plain.get("normalizer") is not None:
            return None
        vocabulary: dict[str, int] = self.reference.get_vocab(with_added_tokens=True)
        lengths = np.zeros(1 + max(vocabulary.values()), dtype=np.int64)
        for token, index in vocabulary.items():
            lengths[index] = len(token)  # byte-level BPE writes each byte as one character
        for added in self._plain["added_tokens"]:
            lengths[added["id"]] = len(added["content"].encode())
        offsets = [[start for start, _ in encoding.offsets] for encoding in self.reference.encode_batch(_HARD, add_special_tokens=False)]
        right = all(
            sum(lengths[ids]) == len(text.encode()) and list(_starts(text, ids, lengths)) == expected
            for text, ids, expected in zip(_HARD, self._by_reference(_HARD), offsets, strict=True)
        )
        return lengths if right else None

    def _checked(self, texts: Sequence[str], found: list[array[int]]) -> list[array[int]]:
        """What was found, compared with the reference on the first of it."""
        first = 0
        while first < len(texts) and self._to_check > 0:
            self._to_check -= len(texts[first])
            first += 1
        if self._by_reference(texts[:first]) == found[:first]:
            return found
        self._give_up("it gives other ids for one of the first documents")
        return self._by_reference(texts)

    def _by_reference(self, texts: Sequence[str]) -> list[array[int]]:
        encodings = self.reference.encode_batch_fast(list(texts), add_special_tokens=False)
        return [array(TYPECODE, encoding.ids) for encoding in encodings]

    def _give_up(self, reason: str) -> None:
        self._gave_up = True
        warnings.warn(
            f"fastokens is left aside, {reason}: tokenising takes about four times as long. "
            "Install the versions of constraints.txt; the ids are those of `tokenizers` either way",
            stacklevel=2,
        )


def _flat(fast: Any, texts: Sequence[str]) -> tuple[bytes, list[int]]:
    """All ids in a row, 4 bytes each, and where each text's begin, with the end of the last."""
    ids, ends = fast.encode_batch_flat(list(texts))
    return ids, array("Q", ends).tolist()


def _parts(fast: Any, texts: Sequence[str]) -> list[bytes]:
    ids, ends = _flat(fast, texts)
    return [ids[4 * start : 4 * end] for start, end in zip(ends[:-1], ends[1:], strict=True)]


def _array(ids: bytes) -> array[int]:
    found = array(TYPECODE)
    found.frombytes(ids)
    return found


def _starts(text: str, ids: Sequence[int], lengths: np.ndarray) -> array[int]:
    import numpy as np

    begins = np.cumsum(lengths[np.asarray(ids, dtype=np.int64)]) - lengths[np.asarray(ids, dtype=np.int64)]
    raw = text.encode()
    if len(raw) != len(text):
        first_bytes = (np.frombuffer(raw, np.uint8) & 0xC0) != 0x80
        begins = (np.cumsum(first_bytes) - 1)[begins]
    return _array(begins.astype(np.int32).tobytes())
