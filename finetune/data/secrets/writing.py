"""How a placeholder is written, so that what parsed before still parses: `<KEY>` by itself is a redirection in a shell, a tag in XML.

    shell     '<KEY>' where nothing quotes it
    markup    &lt;KEY&gt;, the same text, but in comments, CDATA, scripts and styles
    JSX       {"<KEY>"} between tags

Everywhere else a value stands in quotes, in a comment, or where `<` is a letter like others (YAML, INI).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from finetune.data.syntax import parsed

Form: TypeAlias = Literal["plain", "shell", "markup", "JavaScript", "TSX"]
Write: TypeAlias = Callable[[int, bytes], bytes]
_MARKUP = ("XML", "SVG", "Maven POM", "Ant Build System", "XML Property List", "XSLT", "HTML", "Vue", "Svelte")
_OTHERS: Mapping[str, Form] = {"Shell": "shell", "Dotenv": "shell", "JavaScript": "JavaScript", "TSX": "TSX"}
FORMS: Mapping[str, Form] = MappingProxyType({**_OTHERS, **{name: "markup" for name in _MARKUP}})
_RAW = re.compile(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<(script|style)\b[^>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_QUOTED = re.compile(
    rb"""\\.|'[^']*'|\$'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?<![^\s;&|()])\#[^\n]*"""
    rb"""|\$\(\(.*?\)\)|<<<|<<-?[ \t]*\\?(?P<q>['"]?)(?P<word>\w+)(?P=q)|\n""",
    re.DOTALL,
)


def writer(content: bytes, form: Form) -> Write:
    """What writes a placeholder for the value that begins at a place of the content."""
    match form:
        case "shell":
            ranges = [*_quoted(content)]
            return lambda place, placeholder: placeholder if _within(ranges, place) else b"'" + placeholder + b"'"
        case "markup":
            raw = [match.span() for match in _RAW.finditer(content)]
            return lambda place, placeholder: placeholder if _within(raw, place) else _escaped(placeholder)
        case "JavaScript" | "TSX" if b"</" in content:
            text = [*_between_tags(content, form)]
            return lambda place, placeholder: b'{"' + placeholder + b'"}' if _within(text, place) else placeholder
    return lambda _, placeholder: placeholder


def _escaped(placeholder: bytes) -> bytes:
    return placeholder.replace(b"<", b"&lt;").replace(b">", b"&gt;")


def _within(ranges: list[tuple[int, int]], place: int) -> bool:
    index = bisect_right(ranges, (place, len(ranges) and ranges[-1][1])) - 1
    return index >= 0 and ranges[index][0] <= place < ranges[index][1]


def _quoted(content: bytes) -> Iterator[tuple[int, int]]:
    """Where a shell takes characters as they are: strings, comments, here-documents."""
    place, words = 0, list[bytes]()
    while match := _QUOTED.search(content, place):
        place = match.end()
        if match["word"]:
            words.append(match["word"])
        elif match[0] == b"\n":
            for word in words:
                if end := re.compile(rb"^\t*" + re.escape(word) + rb"$", re.MULTILINE).search(content, place):
                    yield place, end.end()
                    place = end.end()
            words = []
        elif match[0] != b"<<<":
            yield match.span()


def _between_tags(content: bytes, language: str) -> Iterator[tuple[int, int]]:
    root, _ = parsed(content.decode("utf-8", "surrogatepass"), language)
    left = [root]
    while left:
        node = left.pop()
        if node.type == "jsx_text":
            yield node.start_byte, node.end_byte
        left += reversed(node.children)
