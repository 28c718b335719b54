"""Samples and prompts as token ids: the only module that knows sentinels and templates.

    FimSample psm     <prefix> prefix <suffix> suffix <middle> MIDDLE <end>
    FimSample spm     <prefix> <suffix> suffix <middle> prefix MIDDLE <end>        (variant 2 of arXiv 2207.14255)
              or      <suffix> suffix <prefix> prefix <middle> MIDDLE <end>        each family in its own order (families/table.py)
    FimSample plain   MIDDLE <end>
    InstructSample    Question: instruction\\ncontext\\n\\nAnswer:\\n ANSWER <end>
             earlier  Question: question\\n\\nAnswer:\\nanswer\\n\\n before it, for each turn before
             commit   <commit_before> context <commit_msg> instruction <commit_after> ANSWER <end>              (StarCoder 1)
    ContextSample     files side by side, see pieces.py
    NotebookSample    <start> <text> text <code> CODE <output> output <code> CODE <output> <empty> ... <end>
             script   <script> CODE <end>

What stands in capitals is the answer. Everything before it is a prompt, made by the same lines for training and for serving; prompt and
answer are tokenised apart, so that a model never learns a token that spans the border and that no prompt can contain. Before all of it
stands the family's `opening`, where its tokenizer begins every text with one (opening.py).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from finetune.data.pieces import Piece, before_middle, context_layout, fim_tokens
from finetune.data.tokens import TYPECODE, TextTokenizer
from finetune.errors import DataError
from finetune.families import CommitTokens, Family, JupyterTokens, describe_tokenizer
from finetune.records import (
    IGNORED,
    ContextPrompt,
    ContextSample,
    Encoded,
    FimPrompt,
    FimSample,
    InstructPrompt,
    InstructSample,
    NotebookSample,
    Prompt,
    Sample,
    TextPrompt,
)

Learn: TypeAlias = Literal["all", "answer"]
T = TypeVar("T", JupyterTokens, CommitTokens)
_BATCH = 1 << 20  # characters tokenised in one call
_UNLEARNT = array(TYPECODE, [IGNORED])
_KEPT = "if A_b:\n\t  x = [1, 23]  # é 世 😀\r\n\n"  # normal forms of Unicode may change what is not in it (Qwen)


class Encoder:
    """A tokenizer and its family: text to ids that are never control tokens, sentinels to ids."""

    def __init__(self, tokenizer_json: Path, family: Family) -> None:
        """Raises DataError for a sentinel that is not one token, and where text could become a control token or come back changed."""
        description = describe_tokenizer(tokenizer_json, family)
        control = _mark_control_tokens(description, family)
        self.family = family
        self._control = frozenset(control)
        self._texts = TextTokenizer(description)
        self.vocabulary_size = 1 + max(self._texts.reference.get_vocab(with_added_tokens=True).values())
        added = {token["content"]: int(token["id"]) for token in description["added_tokens"]}
        self._ids = {token: added[token] if token in added else self._single(token, tokenizer_json) for token in family.sentinels}
        self.jupyter = self._optional(family.jupyter)
        self.commit = self._optional(family.commit)
        for content in control.values():
            if not control.keys().isdisjoint(self.text(content)):
                raise DataError(
                    f"{tokenizer_json}: the plain text {content} becomes a control token; "
                    "write model.path=FOLDER of a model with a byte-level tokenizer"
                )
        if (back := self.decode(self.text(_KEPT))) != _KEPT:
            raise DataError(
                f"{tokenizer_json}: the text {_KEPT!r} comes back as {back!r}; "
                "write model.path=FOLDER of a model for code, whose tokenizer keeps every character"
            )

    def _single(self, token: str, source: Path) -> int:
        ids = self.text(token)
        if len(ids) != 1:
            raise DataError(
                f"{source}: {token} is {len(ids)} tokens, but family {self.family.name} needs it as one; "
                "copy the model's own tokenizer.json, or write model.family=none"
            )
        return ids[0]

    def _optional(self, tokens: T | None) -> T | None:
        """The tokens of notebooks, or of commits, where the vocabulary has all of them."""
        found = {token: self._texts.reference.token_to_id(token) for token in (() if tokens is None else tokens.all)}
        if None in found.values():
            return None
        self._ids |= found
        return tokens

    @property
    def engine(self) -> str:
        """The library that tokenises documents: fastokens, or tokenizers where that gives other ids or is not there."""
        return self._texts.engine

    @property
    def end_id(self) -> int:
        """The id of the token that ends a text."""
        return self._ids[self.family.end]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer."""
        return tuple(self._ids[token] for token in self.family.stop)

    @property
    def pad_id(self) -> int:
        """The id that fills rows; never told from a token of a sample by its id (some families pad with `end`)."""
        return self._ids[self.family.pad]

    @property
    def control_ids(self) -> frozenset[int]:
        """The ids of every control token of the vocabulary, the family's or not; no text becomes one."""
        return self._control

    @property
    def sentinel_ids(self) -> frozenset[int]:
        """The ids of the family's sentinels."""
        return frozenset(self._ids.values())

    def token(self, sentinel: str) -> int:
        """The id of one of the family's sentinels."""
        return self._ids[sentinel]

    def text(self, text: str) -> list[int]:
        """The ids of a text; `<|endoftext|>` in it stays text."""
        return self._texts.one(text)

    def texts(self, texts: Sequence[str]) -> list[array[int]]:
        """The ids of many texts, on every core."""
        return self._texts.many(texts)

    def token_starts(self, text: str) -> Sequence[int]:
        """Where each token of the text begins, in characters."""
        return self._texts.starts(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, sentinels written out."""
        text: str = self._texts.reference.decode(list(ids), skip_special_tokens=False)
        return text


def encode_sample(sample: Sample, encoder: Encoder, *, learn: Learn) -> Encoded:
    """The sample as ids. "answer" learns the answer and the end alone; the first token is never learnt, nothing stands before it."""
    return next(encode_samples([sample], encoder, learn=learn))


def encode_samples(samples: Iterable[Sample], encoder: Encoder, *, learn: Learn) -> Iterator[Encoded]:
    """Each sample as `encode_sample` gives it, many tokenised in one call."""
    for layouts in _batches(_layout(sample, encoder) for sample in samples):
        yield from _encoded(layouts, encoder, learn=learn)


def _batches(layouts: Iterable[list[Piece]]) -> Iterator[list[list[Piece]]]:
    """Layouts of some megabytes of text together, so that what is tokenised at once does not grow with the corpus."""
    batch: list[list[Piece]] = []
    characters = 0
    for layout in layouts:
        batch.append(layout)
        characters += sum(len(piece.text) for piece in layout)
        if characters >= _BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _encoded(layouts: Sequence[list[Piece]], encoder: Encoder, *, learn: Learn) -> Iterator[Encoded]:
    ids = iter(encoder.texts([piece.text for layout in layouts for piece in layout if not piece.sentinel]))
    for layout in layouts:
        input_ids, labels, marks = array(TYPECODE), array(TYPECODE), array(TYPECODE)
        for piece in layout:
            marks.append(2 * len(input_ids) + piece.answer)
            own = array(TYPECODE, [encoder.token(piece.text)]) if piece.sentinel else next(ids)
            input_ids.extend(own)
            labels.extend(own if piece.answer or learn == "all" else _UNLEARNT * len(own))
        labels[0] = IGNORED
        yield Encoded(input_ids, labels, marks)


def encode_prompt(prompt: Prompt | ContextPrompt, encoder: Encoder) -> list[int]:
    """The ids of a sample up to its answer. Raises DataError when the family has no tokens for the prompt."""
    pieces = [*_opening(encoder.family), *_prompt_layout(prompt, encoder.family)]
    return [*chain.from_iterable([encoder.token(piece.text)] if piece.sentinel else encoder.text(piece.text) for piece in pieces)]


def prompt_of(sample: FimSample | InstructSample) -> Prompt:
    """What is asked when the sample's answer is wanted."""
    match sample:
        case InstructSample():
            return InstructPrompt(sample.instruction, sample.context, sample.form, sample.earlier)
        case FimSample(form="plain"):
            return TextPrompt(sample.prefix)
        case FimSample():
            return FimPrompt(sample.prefix, sample.suffix)


def answer_of(sample: FimSample | InstructSample) -> str:
    """What the model is to write."""
    return sample.answer if isinstance(sample, InstructSample) else sample.middle


def _opening(family: Family) -> list[Piece]:
    return [] if family.opening is None else [Piece(family.opening, True)]


def _layout(sample: Sample, encoder: Encoder) -> list[Piece]:
    family = encoder.family
    return [*_opening(family), *_body(sample, encoder), Piece(_end(sample, family), True, answer=True)]


def _end(sample: Sample, family: Family) -> str:
    """The token that ends the sample: a hole may have one of its own."""
    last = sample.parts[-1] if isinstance(sample, ContextSample) else sample
    hole = isinstance(last, FimSample) and last.form != "plain"
    return (family.fim.end if hole and family.fim is not None else None) or family.end


def _body(sample: Sample, encoder: Encoder) -> Iterable[Piece]:
    family = encoder.family
    if isinstance(sample, NotebookSample):
        return _notebook_layout(sample, encoder)
    if isinstance(sample, ContextSample):
        return context_layout(sample, family)
    if isinstance(sample, FimSample) and sample.form == "spm":
        before = [*before_middle(fim_tokens(family), [Piece(sample.prefix)], sample.suffix, form="spm")]
    else:
        before = _prompt_layout(prompt_of(sample), family)
    return [*before, Piece(answer_of(sample), answer=True)]


def _prompt_layout(prompt: Prompt | ContextPrompt, family: Family) -> list[Piece]:
    match prompt:
        case FimPrompt(prefix, suffix):
            return [*before_middle(fim_tokens(family), [Piece(prefix)], suffix)]
        case ContextPrompt(sample):
            return [*context_layout(sample, family)][:-1]
        case TextPrompt(text):
            return [Piece(text)]
        case InstructPrompt(form="commit"):
            return _commit_layout(prompt, family)
        case InstructPrompt(instruction, context):
            question = f"{instruction}\n{context}" if context else instruction
            earlier = "".join(f"{_asked(asked)}{answer}\n\n" for asked, answer in prompt.earlier)
            return [Piece(earlier + _asked(question))]


def _asked(question: str) -> str:
    return f"Question: {question}\n\nAnswer:\n"


def _commit_layout(prompt: InstructPrompt, family: Family) -> list[Piece]:
    """StarCoder's pretraining form of a commit (arXiv 2305.06161, table 1)."""
    tokens = family.commit
    if tokens is None:
        raise DataError(f"family {family.name} has no tokens for commits; write form: text, or form: lines, in data.miners")
    before = [Piece(tokens.before, True), Piece(prompt.context), Piece(tokens.message, True), Piece(prompt.instruction)]
    return [*before, Piece(tokens.after, True)]


def _notebook_layout(sample: NotebookSample, encoder: Encoder) -> Iterator[Piece]:
    tokens = encoder.jupyter
    if tokens is None or (sample.form == "script" and tokens.script is None):
        raise DataError(f"family {encoder.family.name} has no tokens for notebooks in this form; take notebooks out of data.miners")
    if sample.form == "script":
        assert tokens.script is not None
        yield Piece(tokens.script, True)
        yield from (Piece(cell.source, answer=True) for cell in sample.cells)
        return
    yield Piece(tokens.start, True)
    for cell in sample.cells:
        code = cell.kind == "code"
        yield Piece(tokens.code if code else tokens.text, True)
        yield Piece(cell.source, answer=code)
        if code:
            yield Piece(tokens.output, True)
            yield Piece(cell.output) if cell.output else Piece(tokens.empty, True)


def _mark_control_tokens(description: dict[str, Any], family: Family) -> dict[int, str]:
    """Makes every control token of tokenizer.json a special one, which text never becomes; gives them by id.

    Qwen lists its fill-in-the-middle tokens as not special. Runs of blanks and words that a tokenizer was given besides are text,
    and so are the placeholders of redaction, which say nothing of how a sample is built.
    """
    control = {}
    for token in description["added_tokens"]:
        content = token["content"]
        if content in family.placeholders:
            token["special"] = False
        elif token["special"] or content in family.sentinels or (content.startswith("<") and content.endswith(">")):
            token["special"] = True
            control[token["id"]] = content
    return control
