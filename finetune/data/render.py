"""Samples and prompts as token ids: the only module that knows sentinels and templates.

    FimSample psm     <prefix> prefix <suffix> suffix <middle> MIDDLE <end>
    FimSample spm     <prefix> <suffix> suffix <middle> prefix MIDDLE <end>        (variant 2 of arXiv 2207.14255)
    FimSample plain   MIDDLE <end>
    InstructSample    Question: instruction\\ncontext\\n\\nAnswer:\\n ANSWER <end>

What stands in capitals is the answer. Everything before it is a prompt, made by the same lines for training and for serving; prompt and
answer are tokenised apart, so that a model never learns a token that spans the border and that no prompt can contain.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from finetune.errors import DataError
from finetune.families import Family, FimTokens
from finetune.records import (
    IGNORED,
    Encoded,
    FimPrompt,
    FimSample,
    InstructPrompt,
    InstructSample,
    Prompt,
    Sample,
    TextPrompt,
)

Learn: TypeAlias = Literal["all", "answer"]
_TOKEN = "i"  # array type code: 4 bytes a token where a list of Python integers takes 36


class Piece(NamedTuple):
    """A stretch of a sample: text, or one sentinel."""

    text: str
    sentinel: bool = False
    answer: bool = False


class Encoder:
    """A tokenizer and its family: text to ids that are never control tokens, sentinels to ids."""

    def __init__(self, tokenizer_json: Path, family: Family) -> None:
        """Raises DataError when a sentinel of the family is not one token, or when plain text could become a control token."""
        description: dict[str, Any] = json.loads(tokenizer_json.read_text(encoding="utf-8"))
        control = _mark_control_tokens(description, family)
        self.family = family
        self._tokenizer = _tokenizer(description)
        self.vocabulary_size = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        self._ids = {token: self._single(token, tokenizer_json) for token in family.sentinels}
        self._tokenizer.encode_special_tokens = True
        for content in control.values():
            if not control.keys().isdisjoint(self.text(content)):
                raise DataError(
                    f"{tokenizer_json}: the plain text {content} becomes a control token; "
                    "write model.path=FOLDER of a model with a byte-level tokenizer"
                )

    def _single(self, token: str, source: Path) -> int:
        ids: list[int] = self._tokenizer.encode(token, add_special_tokens=False).ids
        if len(ids) != 1:
            raise DataError(
                f"{source}: {token} is {len(ids)} tokens, but family {self.family.name} needs it as one; "
                "copy the model's own tokenizer.json, or write model.family=none"
            )
        return ids[0]

    @property
    def end_id(self) -> int:
        """The id of the token that ends every sample."""
        return self._ids[self.family.end]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer."""
        return tuple(self._ids[token] for token in self.family.stop)

    @property
    def pad_id(self) -> int:
        """The id that fills rows; never told from a token of a sample by its id (a family without FIM pads with `end`)."""
        return self.end_id if self.family.fim is None else self._ids[self.family.fim.pad]

    @property
    def sentinel_ids(self) -> frozenset[int]:
        """The ids of the family's sentinels."""
        return frozenset(self._ids.values())

    def token(self, sentinel: str) -> int:
        """The id of one of the family's sentinels."""
        return self._ids[sentinel]

    def text(self, text: str) -> list[int]:
        """The ids of a text; `<|endoftext|>` in it stays text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, on every core."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def token_starts(self, text: str) -> list[int]:
        """Where each token of the text begins, in characters."""
        return [start for start, _ in self._tokenizer.encode(text, add_special_tokens=False).offsets]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, sentinels written out."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text


def encode_sample(sample: Sample, encoder: Encoder, *, learn: Learn) -> Encoded:
    """The sample as ids. "answer" learns the answer and the end alone; the first token is never learnt, nothing stands before it."""
    return next(encode_samples([sample], encoder, learn=learn))


def encode_samples(samples: Iterable[Sample], encoder: Encoder, *, learn: Learn) -> Iterator[Encoded]:
    """Each sample as `encode_sample` gives it, tokenised in one call."""
    layouts = [_layout(sample, encoder.family) for sample in samples]
    ids = iter(encoder.texts([piece.text for layout in layouts for piece in layout if not piece.sentinel]))
    for layout in layouts:
        input_ids, labels = array(_TOKEN), array(_TOKEN)
        for piece in layout:
            own = [encoder.token(piece.text)] if piece.sentinel else next(ids)
            input_ids.extend(own)
            labels.extend(own if piece.answer or learn == "all" else [IGNORED] * len(own))
        labels[0] = IGNORED
        yield Encoded(input_ids, labels)


def encode_prompt(prompt: Prompt, encoder: Encoder) -> list[int]:
    """The ids of a sample up to its answer. Raises DataError when the family has no tokens for the prompt."""
    pieces = _prompt_layout(prompt, encoder.family)
    return [*chain.from_iterable([encoder.token(piece.text)] if piece.sentinel else encoder.text(piece.text) for piece in pieces)]


def prompt_of(sample: Sample) -> Prompt:
    """What is asked when the sample's answer is wanted."""
    match sample:
        case InstructSample():
            return InstructPrompt(sample.instruction, sample.context)
        case FimSample(form="plain"):
            return TextPrompt(sample.prefix)
        case FimSample():
            return FimPrompt(sample.prefix, sample.suffix)


def answer_of(sample: Sample) -> str:
    """What the model is to write."""
    return sample.answer if isinstance(sample, InstructSample) else sample.middle


def _layout(sample: Sample, family: Family) -> list[Piece]:
    if isinstance(sample, FimSample) and sample.form == "spm":
        fim = _fim(family)
        before = [Piece(fim.prefix, True), Piece(fim.suffix, True), Piece(sample.suffix), Piece(fim.middle, True), Piece(sample.prefix)]
    else:
        before = _prompt_layout(prompt_of(sample), family)
    return [*before, Piece(answer_of(sample), answer=True), Piece(family.end, True, answer=True)]


def _prompt_layout(prompt: Prompt, family: Family) -> list[Piece]:
    match prompt:
        case FimPrompt(prefix, suffix):
            fim = _fim(family)
            return [Piece(fim.prefix, True), Piece(prefix), Piece(fim.suffix, True), Piece(suffix), Piece(fim.middle, True)]
        case TextPrompt(text):
            return [Piece(text)]
        case InstructPrompt(instruction, context):
            question = f"{instruction}\n{context}" if context else instruction
            return [Piece(f"Question: {question}\n\nAnswer:\n")]


def _fim(family: Family) -> FimTokens:
    if family.fim is None:
        raise DataError(
            f"family {family.name} has no fill-in-the-middle tokens; ask with text alone, "
            "write data.miners=[{kind: fim, rate: 0}] to train on plain text, or choose a base model that has them"
        )
    return family.fim


def _mark_control_tokens(description: dict[str, Any], family: Family) -> dict[int, str]:
    """Makes every control token of tokenizer.json a special one, which text never becomes; gives them by id.

    Qwen lists its fill-in-the-middle tokens as not special. Runs of blanks and words that a tokenizer was given besides are text.
    """
    control = {}
    for token in description["added_tokens"]:
        content = token["content"]
        if token["special"] or content in family.sentinels or (content.startswith("<") and content.endswith(">")):
            token["special"] = True
            control[token["id"]] = content
    return control


def _tokenizer(description: dict[str, Any]) -> Any:
    """The tokenizer as described, but for what would add to a text or cut it."""
    from tokenizers import Tokenizer

    unchanged = {key: value for key, value in description.items() if key not in {"post_processor", "truncation", "padding"}}
    return Tokenizer.from_str(json.dumps(unchanged))
