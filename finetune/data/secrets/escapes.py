"""Escapes of string literals and links: the letter of `\\n` and the digits of `%20` are no part of the word behind them."""

from __future__ import annotations

import re

# Of a link those that stand for a blank, a quote or a sign between words.
_PERCENT = re.compile(rb"%(?:0[9AaDd]|2[026789CcFf]|3[A-Fa-f]|5[BbDd]|7[BbCcDd])(?=[A-Za-z0-9])")
_ESCAPE = re.compile(rb"\\(?:u\{[0-9A-Fa-f]{1,6}\}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[0-3][0-7]{2}|[abfnrtv0])")


def readings(content: bytes) -> tuple[bytes, ...]:
    r"""The content, as long as before, with NUL for what stands behind the first sign of each escape: of a string, then of a link too.

    In "\nghp_..." the token begins a word, and in "\njane@corp.io" the address does not begin with n. A text without NUL has no other
    byte that every rule takes for neither a letter, nor a blank, nor an end of a line. An escape of a link stands between two words or in
    one, as %2F in base64, and nothing tells which: so a content that has any is read both ways.
    """
    content = _ESCAPE.sub(_blank, content) if b"\\" in content else content
    parted = _PERCENT.sub(_blank, content) if b"%" in content else content
    return (content,) if parted == content else (content, parted)


def _blank(escape: re.Match[bytes]) -> bytes:
    return escape[0][:1] + b"\0" * (len(escape[0]) - 1)
