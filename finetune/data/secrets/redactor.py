"""Spans found, merged and replaced: exactly their bytes, so that quotes and code around them stay as they are."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from finetune.data.secrets.rules import RULES, Rule
from finetune.data.secrets.screen import Screen, fastest_screen
from finetune.data.tally import Tally
from finetune.hashing import stable_hash
from finetune.records import Change, Item, SourceFile

RANKS = {rule.kind: rank for rank, rule in enumerate(RULES)}
# Addresses nobody owns take the place of public ones (RFC 1918, RFC 4193).
ADDRESSES = {
    "ipv4": (b"10.20.30.41", b"10.20.30.42", b"172.20.10.43", b"192.168.50.44", b"192.168.60.45"),
    "ipv6": (b"fd00:1:2::41", b"fd00:1:2::42", b"fd00:1:2::43", b"fd00:1:2::44", b"fd00:1:2::45"),
}


class Span(NamedTuple):
    """Bytes to replace."""

    start: int
    end: int
    rule: Rule


class Redactor:
    """Takes secrets and personal data out of texts; values in `allow`, or parts of them, stay."""

    def __init__(self, allow: tuple[str, ...] = (), *, screen: Screen | None = None) -> None:
        self._allow = tuple(value.encode() for value in allow)
        self._screen = screen or fastest_screen()
        # Neighbours in a file's history share a version: it is looked at once.
        self._redacted = functools.lru_cache(maxsize=16)(self._redact)

    def redact(self, text: str) -> tuple[str, Counter[str]]:
        """The text with placeholders, and how many of each kind were put in."""
        redacted, kinds = self._redacted(text)
        return redacted, Counter(kinds)

    def _redact(self, text: str) -> tuple[str, tuple[str, ...]]:
        content = text.encode("utf-8", "surrogatepass")
        spans = merge([span for rule in self._screen(content) for span in self._spans(rule, content)])
        if not spans:
            return text, ()
        pieces, last = [], 0
        for span in spans:
            pieces += [content[last : span.start], _placeholder(span.rule, content[span.start : span.end])]
            last = span.end
        redacted = b"".join([*pieces, content[last:]]).decode("utf-8", "surrogatepass")
        return redacted, tuple(span.rule.kind for span in spans)

    def _spans(self, rule: Rule, content: bytes) -> Iterator[Span]:
        place = 0
        while match := rule.pattern.search(content, place):
            start, end = match.span("value")
            if rule.sure(match) and not any(match["value"] in allowed for allowed in self._allow):
                yield Span(*_whole_characters(content, start, end), rule)
                place = end
            else:
                place = match.start() + 1  # a real one may begin inside a look-alike


def redact_item(item: Item, redactor: Redactor, tally: Tally) -> Item:
    """The item with every text of it redacted: a change's message and old version too."""
    match item:
        case SourceFile():
            text, found = redactor.redact(item.text)
            tally.redactions += found
            return replace(item, text=text)
        case Change():
            message, in_message = redactor.redact(item.message)
            before, in_before = redactor.redact(item.before)
            after, in_after = redactor.redact(item.after)
            tally.redactions += in_message + in_before + in_after
            return replace(item, message=message, before=before, after=after)


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


def _placeholder(rule: Rule, value: bytes) -> bytes:
    if rule.placeholder != "address":
        return rule.placeholder.encode()
    choices = ADDRESSES[rule.kind]
    return choices[stable_hash("address", value.decode()) % len(choices)]
