"""The licence that a file states itself: by SPDX tags, by a notice in a comment before its code, or by a name there."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from finetune.data.classifier import licences_in
from finetune.data.clauses import licences_by_clauses
from finetune.data.named_licences import RESTRICTED, licences_named, with_binding
from finetune.data.own_terms import RESERVED, may_state, own_terms, reserves_beside
from finetune.data.spdx import UNKNOWN, expression_in, joined

HEAD = 4096  # characters in which a file states its licence
COVERAGE = 40.0  # percent of a comment's words that a known notice must be: names, years and what the file is for stand beside it

TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+()/:\- ]+)", re.IGNORECASE)
NOTICE = re.compile(r"licen[sc]e|gpl\b|gpl[v-]?\d|permission (?:is hereby granted|to use)|redistribution and use", re.IGNORECASE)
SMALL = ("licen", "gpl", "permission is hereby granted", "permission to use", "redistribution and use")

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
    """What a file states at its head: its SPDX tags, or the notices, else the names, in each comment before its code; joined by AND.

    RESERVED, alone or beside known licences, is a head that reserves rights: Scopes.of_file says what it comes to. Terms unknown beside
    a known licence are RESTRICTED.
    """
    head = text[:HEAD]
    lowered = head.lower()
    notice = not head.isascii() or any(words in lowered for words in SMALL)  # outside ASCII several letters have one small form
    if notice and (tagged := joined(expression_in(tag[1]) for tag in TAG.finditer(head))):
        return tagged
    return _noticed(head) if notice and NOTICE.search(head) or may_state(lowered) else None


def comments_before_code(head: str) -> Iterator[str]:
    """The comments a text begins with, a run of comment lines as one; opening lines such as `<?php` are passed over."""
    at = 0
    while (piece := PIECE.match(head, at)) and piece.end() > at:
        at = piece.end()
        if comment := piece["block"] or piece["lines"]:
            yield comment


@functools.lru_cache(maxsize=4096)
def _noticed(head: str) -> str | None:
    speaking = [comment for comment in comments_before_code(head) if NOTICE.search(comment) or may_state(comment.lower())]
    found = {name for comment in speaking for name in _known(MARKS.sub("", comment))}
    known = found - {UNKNOWN, RESERVED}
    if UNKNOWN in found:
        return joined({RESTRICTED, *known}) if known else UNKNOWN
    return joined(found)


@functools.lru_cache(maxsize=4096)
def _known(comment: str) -> tuple[str, ...]:
    known = licences_in(comment, coverage=COVERAGE) or licences_by_clauses(comment)
    stated = with_binding(known, comment) or licences_named(comment)
    own = (RESERVED if reserves_beside(comment) else None) if stated else own_terms(comment)
    return (*stated, own) if own else tuple(stated)
