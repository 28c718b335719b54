"""Escapes of string literals: the letter of `\\n` is no part of the word behind it."""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\(?:u\{[0-9A-Fa-f]{1,6}\}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[0-3][0-7]{2}|[abfnrtv0])")


def blanked(content: bytes) -> bytes:
    r"""The content, as long as before, with NUL for what stands behind the backslash of each escape.

    In "\nghp_..." the token begins a word, and in "\njane@corp.io" the address does not begin with n. A text without NUL has no other
    byte that every rule takes for neither a letter, nor a blank, nor an end of a line.
    """
    return _ESCAPE.sub(_blank, content) if b"\\" in content else content


def _blank(escape: re.Match[bytes]) -> bytes:
    return b"\\" + b"\0" * (len(escape[0]) - 1)
