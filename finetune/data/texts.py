"""From a blob's bytes to text, or the reason there is none."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from finetune.data.repos.git import Blob

_SPELT = re.compile(rb"\\x(?=5c|[89a-f][0-9a-f])")
LFS = b"version https://git-lfs.github.com/spec/"


class Text(NamedTuple):
    """A file's text, or the reason it has none."""

    text: str = ""
    reason: str | None = None


def decode(blob: Blob) -> Text:
    """The blob as text: UTF-8 alone, without a byte order mark, line ends as they are."""
    if blob.reason:
        return Text(reason=blob.reason)
    content = blob.content
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Text(reason="utf16")
    if b"\0" in content:
        return Text(reason="binary")
    if content.startswith(LFS):
        return Text(reason="lfs_pointer")
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        return Text(reason="not_utf8")
    return Text(reason="empty") if not text or text.isspace() else Text(text)


def printable_path(path: bytes) -> str:
    r"""A path as a string that can be written anywhere: bytes that are no UTF-8 as \xNN, so what spells one already as \x5cxNN.

    No two paths are written alike.
    """
    if b"\\x" in path:
        path = _SPELT.sub(rb"\\x5cx", path)
    return path.decode("utf-8", "backslashreplace")
