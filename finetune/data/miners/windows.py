"""Files in windows: pieces of at most so many tokens, cut before lines."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from finetune.data.languages import language_of
from finetune.data.miners.holes import Parts, Window
from finetune.data.render import Encoder
from finetune.records import Origin, SourceFile

_SHORTEST = 48  # tokens, some five lines


def windows_of(file: SourceFile, encoder: Encoder, *, room: int) -> Iterator[Window]:
    """The file in windows of at most `room` tokens."""
    text = file.text
    # A byte-level tokenizer never makes more tokens than there are bytes: small files need no counting.
    starts = encoder.token_starts(text) if len(text.encode()) > room else range(len(text))
    return _placed(file.origin, windows(text, starts=starts, room=room), Parts(text, file.language))


def counted_windows(file: SourceFile, encoder: Encoder, *, room: int) -> Iterator[tuple[Window, int]]:
    """The file in windows of at most `room` tokens, each with the number of its tokens."""
    text = file.text
    starts = encoder.token_starts(text)
    for window in _placed(file.origin, windows(text, starts=starts, room=room), Parts(text, file.language)):
        yield window, bisect_left(starts, window.begin + len(window.text)) - bisect_left(starts, window.begin)


def halves(origin: Origin, text: str) -> Iterator[Window]:
    """A window in two, nothing for one of a single character."""
    return _placed(origin, two(text), Parts(text, language_of(origin.path, text)))


def _placed(origin: Origin, pieces: Iterable[str], parts: Parts) -> Iterator[Window]:
    begin = 0
    for piece in pieces:
        yield Window(origin, piece, begin, parts)
        begin += len(piece)


def windows(text: str, *, starts: Sequence[int], room: int) -> Iterator[str]:
    """The text in pieces of at most `room` of its tokens, which begin at `starts` (in characters).

    Cut before a line where there is one to cut before, and never inside a character. A short end takes lines from the piece before it, as
    many as it needs to say something and no more: short ends fill up rows, and full windows need nobody to fill theirs.
    """
    shortest = max(room // 40, min(_SHORTEST, room // 4))
    begin = 0
    while begin < len(text):
        first = bisect_left(starts, begin)
        left = len(starts) - first
        if left <= room:
            yield text[begin:]
            return
        take = min(room, left - shortest)
        begin, piece = _cut(text, begin, starts[first + take])
        yield piece


def _cut(text: str, begin: int, end: int) -> tuple[int, str]:
    line = text.rfind("\n", begin, end) + 1
    cut = line if line > begin else max(end, begin + 1)
    return cut, text[begin:cut]


def two(text: str) -> list[str]:
    """The text in two, before a line about three quarters in if there is one; nothing for a single character.

    Quarters fill what others leave of a row; two halves with their sentinels would not fit into one.
    """
    if len(text) < 2:
        return []
    near = len(text) * 3 // 4
    cut = text.rfind("\n", 0, near) + 1 or text.find("\n", near, len(text) - 1) + 1 or near
    return [text[:cut], text[cut:]]
