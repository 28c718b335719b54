"""The licence that a file states itself: by SPDX tags, by a notice in a comment before its code, or by a name there."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from finetune.data.classifier import licences_in
from finetune.data.clauses import licences_by_clauses
from finetune.data.named_licences import licences_named, with_binding
from finetune.data.own_terms import WORDS, states_own_terms
from finetune.data.spdx import UNKNOWN, expression_in, joined

HEAD = 4096  # characters in which a file states its licence
COVERAGE = 40.0  # percent of a comment's words that a known notice must be: names, years and what the file is for stand beside it

TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+()/:\- ]+)", re.IGNORECASE)
NOTICE = re.compile(
    rf"licen[sc]e|gpl\b|gpl[v-]?\d|permission (?:is hereby granted|to use)|redistribution and use|{'|'.join(WORDS)}", re.IGNORECASE
)
SMALL = ("licen", "gpl", "permission is hereby granted", "permission to use", "redistribution and use")
OF_RIGHTS = ("copyright", "(c)", "rights reserved", "confidential", "property of")  # without one of them WORDS are asked for no more

_DIRECTIVE = r"#[ \t]*(?:include|import|pragma|define|undef|ifn?def|if|elif|else|endif|error|line|region|nullable)\b"
_BLOCKS = [("--[[", "]]"), ("(*", "*)"), ("{-", "-}"), ("=begin", "=end"), ("=pod", "=cut"), ("#|", "|#"), ("<#", "#>"), ("#=", "=#")]
_BLOCKS += [("%{", "%}"), ("{#", "#}"), ("{{!--", "--}}"), ("{{!", "}}"), ("@*", "*@"), ('"""', '"""'), ("'''", "'''")]
_CLOSED = "|".join(f"{re.escape(opens)}.*?{re.escape(closes)}" for opens, closes in _BLOCKS)
_BLOCK = rf"{_CLOSED}|/\*.*?(?:\*/|\Z)|<!--.*?(?:-->|\Z)"
_MARK = rf"#(?!!)(?!{_DIRECTIVE[1:]})|//|\*|--|;|%|!|::|'(?!use\b)|dnl\b|rem\b|\.\\\""
_LINES = rf"(?:[ \t]*(?:{_MARK})[^\n]*(?:\n|\Z)|[ \t]*\n)+"
# What may stand before the comment with the licence, or between two comments, and is no code of its own.
_OPENING = (
    rf"{_DIRECTIVE}[^\n]*|#![^\n]*|<\?(?:php\b|[^\n]*?\?>)?|<!doctype\b[^>]*>|<(?:html|head|template|script|project|svg)\b[^>]*>"
    r"|(?P<quote>['\"])use \w+(?P=quote);?|(?:package|module|namespace|library|unit|@charset|@file)\b[^\n]*"
)
PIECE = re.compile(rf"\s*(?:(?P<block>{_BLOCK})|(?P<opening>{_OPENING}))|(?P<lines>{_LINES})", re.IGNORECASE | re.DOTALL)
MARKS = re.compile(r"^[ \t]*(?:#+|//+|/?\*+/?|--+|;+|%+|!+|'+|::|<!--|-->|\"\"\"|\(\*|dnl\b|rem\b)[ \t]?", re.IGNORECASE | re.MULTILINE)


def licence_of_text(text: str) -> str | None:
    """What a file states at its head: its SPDX tags, or the notices, else the names, in each comment before its code; joined by AND."""
    head = text[:HEAD]
    if not _may_speak_of_one(head):
        return None
    if tagged := joined(expression_in(tag[1]) for tag in TAG.finditer(head)):
        return tagged
    return _noticed(head) if NOTICE.search(head) else None


def comments_before_code(head: str) -> Iterator[str]:
    """The comments a text begins with, a run of comment lines as one; opening lines such as `<?php` are passed over."""
    at = 0
    while (piece := PIECE.match(head, at)) and piece.end() > at:
        at = piece.end()
        if comment := piece["block"] or piece["lines"]:
            yield comment


def _may_speak_of_one(head: str) -> bool:
    """Searches that cost a tenth of NOTICE, and pass over nothing that it finds: outside ASCII several letters have one small form."""
    lowered = head.lower()
    if not head.isascii() or any(words in lowered for words in SMALL):
        return True
    return any(words in lowered for words in OF_RIGHTS) and any(words in lowered for words in WORDS)


@functools.lru_cache(maxsize=4096)
def _noticed(head: str) -> str | None:
    speaking = [MARKS.sub("", comment) for comment in comments_before_code(head) if NOTICE.search(comment)]
    return joined(name for comment in speaking for name in _known(comment))


@functools.lru_cache(maxsize=4096)
def _known(comment: str) -> tuple[str, ...]:
    known = licences_in(comment, coverage=COVERAGE) or licences_by_clauses(comment)
    stated = with_binding(known, comment) or licences_named(comment)
    return tuple(stated or [UNKNOWN] * states_own_terms(comment))
