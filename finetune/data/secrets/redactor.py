"""Spans found, merged and replaced: exactly their bytes, so that quotes and code around them stay as they are."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from finetune.data.secrets.escapes import readings
from finetune.data.secrets.opinion import PERSONAL, SecondOpinion
from finetune.data.secrets.rule import Kind
from finetune.data.secrets.rules import RULES
from finetune.data.secrets.screen import Look, Screen, fastest_screen
from finetune.data.secrets.writing import FORMS, Form, Write, writer
from finetune.data.tally import Redaction, Tally
from finetune.hashing import stable_hash
from finetune.records import Change, Item, Origin, SourceFile

RANKS = {rule.kind: rank for rank, rule in enumerate((*RULES, *PERSONAL.values()))}
SHOWN = 60  # characters to each side of a placeholder in the list for review
# Addresses nobody owns take the place of public ones (RFC 1918, RFC 4193).
ADDRESSES = {
    "ipv4": (b"10.20.30.41", b"10.20.30.42", b"172.20.10.43", b"192.168.50.44", b"192.168.60.45"),
    "ipv6": (b"fd00:1:2::41", b"fd00:1:2::42", b"fd00:1:2::43", b"fd00:1:2::44", b"fd00:1:2::45"),
}


class Span(NamedTuple):
    """Bytes to replace."""

    start: int
    end: int
    rule: Kind


class Found(NamedTuple):
    """One value that was replaced, told without the value: its kind, its line (from 1) and the line's new text around it."""

    kind: str
    line: int
    shown: str


class Redactor:
    """Takes secrets and personal data out of texts; values in `allow`, or parts of them, stay.

    A `model` is asked about every text beside the rules: what either finds is replaced.
    """

    def __init__(self, allow: tuple[str, ...] = (), *, screen: Screen | None = None, model: SecondOpinion | None = None) -> None:
        self._allow = tuple(value.encode() for value in allow)
        self._screen = screen or fastest_screen()
        self._model = model
        # Neighbours in a file's history share a version: it is looked at once.
        self._redacted = functools.lru_cache(maxsize=16)(self._redact)

    @property
    def model_digest(self) -> str | None:
        """SHA-256 of the second opinion's files."""
        return self._model.digest if self._model else None

    def redact(self, text: str, language: str = "") -> tuple[str, Counter[str]]:
        """The text with placeholders, and how many of each kind were put in. Code of the `language` that parsed still does."""
        redacted, found = self.review(text, language)
        return redacted, Counter(each.kind for each in found)

    def name(self, path: str) -> tuple[str, Counter[str]]:
        """A path, or a repository's name, with placeholders, and how many of each kind: looked at whole, then folder by folder.

        In a text an address behind a slash is a part of a link.
        """
        whole, kinds = self.redact(path)
        parts = [self.redact(part) for part in whole.split("/")]
        return "/".join(part for part, _ in parts), sum((found for _, found in parts), kinds)

    def review(self, text: str, language: str = "") -> tuple[str, tuple[Found, ...]]:
        """The text with placeholders, and where each was put in."""
        return self._redacted(text, FORMS.get(language, "plain"))

    def _redact(self, text: str, form: Form) -> tuple[str, tuple[Found, ...]]:
        content = text.encode("utf-8", "surrogatepass")
        looks = self._screen(content)
        plain, *parted = readings(content) if looks else (content,)
        spans = [span for look in looks for span in self._spans(look, content, plain)]
        # Where no escape of a link stands the second reading is the first.
        again = ((look, read) for read in parted for look in looks if read[look.start : look.end] != plain[look.start : look.end])
        spans += [span for look, read in again for span in self._spans(look, content, read)]
        if self._model:
            spans += [Span(*finding) for finding in self._model(text) if not self._allowed(content[finding.start : finding.end])]
        spans = merge(spans)
        if not spans:
            return text, ()
        write = writer(content, form)
        out, places, last = bytearray(), [], 0
        for span in spans:
            out += content[last : span.start]
            places.append(len(out))
            out += _placeholder(span, content, write)
            last = span.end
        redacted = bytes(out + content[last:])
        return redacted.decode("utf-8", "surrogatepass"), _found(spans, places, content=content, redacted=redacted)

    def _allowed(self, value: bytes) -> bool:
        return any(value in allowed for allowed in self._allow)

    def _spans(self, look: Look, content: bytes, read: bytes) -> Iterator[Span]:
        """What the rule finds in the content, read without its escapes."""
        rule, place, last = look
        while match := rule.pattern.search(read, place, last):
            start, end = match.span("value")
            if rule.sure(match) and not self._allowed(content[start:end]):
                yield Span(*_whole_characters(content, start, end), rule)
                place = end
            else:
                place = match.start() + 1  # a real one may begin inside a look-alike


@functools.cache
def open_redactor(allow: tuple[str, ...] = (), model: str | None = None) -> Redactor:
    """The redactor of a recipe's options. Raises ModelError when `model` is no folder of a token-classification model."""
    return Redactor(allow, model=SecondOpinion(Path(model)) if model else None)


def redact_item(item: Item, redactor: Redactor, tally: Tally) -> Item:
    """The item with every text of it redacted: a change's message and old version too."""

    def clean(text: str, part: str, language: str = "") -> str:
        redacted, found = redactor.review(text, language)
        tally.redacted(Redaction(item.origin, part, *each) for each in found)
        return redacted

    match item:
        case SourceFile():
            return replace(item, text=clean(item.text, "text", item.language))
        case Change():
            message = clean(item.message, "message")
            before, after = (clean(getattr(item, part), part, item.language) for part in ("before", "after"))
            return replace(item, message=message, before=before, after=after)


def redact_path(origin: Origin, redactor: Redactor, tally: Tally) -> None:
    """Counts what is replaced in a path where it is written into samples; the origin keeps it as it is."""
    shown, kinds = redactor.name(origin.path)
    tally.redacted(Redaction(origin, "path", kind, 1, shown) for kind in kinds.elements())


def merge(spans: list[Span]) -> list[Span]:
    """Spans in order, overlapping ones made one; the rule that stands first in RULES gives it its placeholder."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            first = min(last.rule, span.rule, key=lambda rule: RANKS[rule.kind])
            merged[-1] = Span(last.start, max(last.end, span.end), first)
        else:
            merged.append(span)
    return merged


def _whole_characters(content: bytes, start: int, end: int) -> tuple[int, int]:
    """The span, grown so that it cuts no UTF-8 character."""
    while start > 0 and content[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(content) and content[end] & 0xC0 == 0x80:
        end += 1
    return start, end


def _found(spans: list[Span], places: list[int], *, content: bytes, redacted: bytes) -> tuple[Found, ...]:
    """What is told of each span. `places`: where its placeholder begins in the redacted text."""
    found, line, counted = [], 1, 0
    for span, place in zip(spans, places, strict=True):
        line += content.count(b"\n", counted, span.start)
        counted = span.start
        start = max(redacted.rfind(b"\n", 0, place) + 1, place - SHOWN)
        end = redacted.find(b"\n", place)
        shown = redacted[start : min(len(redacted) if end < 0 else end, place + SHOWN)]
        found.append(Found(span.rule.kind, line, shown.decode("utf-8", "ignore").strip()))
    return tuple(found)


def _placeholder(span: Span, content: bytes, write: Write) -> bytes:
    if span.rule.placeholder != "address":
        return write(span.start, span.rule.placeholder.encode())
    value = content[span.start : span.end]
    choices = ADDRESSES["ipv6" if b":" in value else "ipv4"]
    return choices[stable_hash("address", value.decode()) % len(choices)]
