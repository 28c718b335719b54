"""Where a text takes characters as they are: in its strings, its comments, its raw blocks. All places are byte offsets, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator

Range = tuple[int, int]

_SHELL = re.compile(
    rb"""\\.|'[^']*'|\$'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?<![^\s;&|()])\#[^\n]*"""
    rb"""|\$\(\(.*?\)\)|<<<|<<-?[ \t]*\\?(?P<q>['"]?)(?P<word>\w+)(?P=q)|\n""",
    re.DOTALL,
)
_BATCH = re.compile(rb'"[^"\n]*"?|^[ \t]*@?::[^\n]*', re.MULTILINE)
_POWERSHELL = re.compile(
    rb"""`.|@'[ \t]*\r?\n.*?^'@|@"[ \t]*\r?\n.*?^"@|'(?:[^']|'')*'|"(?:`.|""|[^"`])*"|<\#.*?\#>|(?<![^\s;&|(){}])\#[^\n]*""",
    re.DOTALL | re.MULTILINE,
)
# A quote without its other half on the line is one of a text that make hands on.
_MAKE = re.compile(rb"""\\.|"(?:\\.|[^"\\\n])*"|'(?:\\\r?\n|[^'\n])*'|(?<!\S)\#[^\n]*""", re.DOTALL)
# What a shell reads of a Dockerfile; lines go on behind a backslash, over comments and empty lines.
_RUN = re.compile(
    rb"^[ \t]*(?:ONBUILD[ \t]+)?(?:RUN|CMD|ENTRYPOINT|HEALTHCHECK)\b(?:\\[ \t]*\r?\n(?:[ \t]*(?:\#[^\n]*)?\n)*|\\.|[^\n\\])*",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_HEREDOC = re.compile(rb"<<-?[ \t]*(?P<q>['\"]?)(?P<word>\w+)(?P=q)")
_RAW = re.compile(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<(script|style)\b[^>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_CODE = re.compile(
    rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<(script|style)\b[^>]*>.*?</\1\s*>|<%.*?%>|<\?(?:php\b|=).*?(?:\?>|\Z)|<\#--.*?-->"
    rb"|\{\{.*?\}\}|\{%.*?%\}|\{\#.*?\#\}|\$\{[^}\n]*\}|\A---[ \t]*\r?\n.*?^---[ \t]*$",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_FENCED = re.compile(
    rb"^[ \t]*(?P<fence>```+|~~~+).*?^[ \t]*(?P=fence)[ \t]*$|(?P<tick>`+)[^`\n]+(?P=tick)|\A---[ \t]*\r?\n.*?^---[ \t]*$",
    re.DOTALL | re.MULTILINE,
)

# What stands before a string in code or as an attribute, and before a quotation seldom: template languages begin code in too many ways.
_STRING = re.compile(rb"""(?:[=(\[{,:+.?&|!]|=>|\b(?:echo|print|return))[ \t\r\n]*["'`]\Z""")
_NEAR = 80  # bytes in which that is looked for


def shell(content: bytes) -> Iterator[Range]:
    """Strings, comments and here-documents of a shell."""
    place, words = 0, list[bytes]()
    while match := _SHELL.search(content, place):
        place = match.end()
        if match["word"]:
            words.append(match["word"])
        elif match[0] == b"\n":
            for word in words:
                if end := _end_of(word, content, place):
                    yield place, end
                    place = end
            words = []
        elif match[0] != b"<<<":
            yield match.span()


def batch(content: bytes) -> Iterator[Range]:
    """Strings of cmd.exe, which end with the line, and its `::`."""
    return (match.span() for match in _BATCH.finditer(content))


def powershell(content: bytes) -> Iterator[Range]:
    """Strings, here-strings and comments of PowerShell."""
    return (match.span() for match in _POWERSHELL.finditer(content))


def make(content: bytes) -> Iterator[Range]:
    """Strings and comments of a Makefile and of the commands in it."""
    return (match.span() for match in _MAKE.finditer(content))


def docker(content: bytes) -> Iterator[Range]:
    """All of a Dockerfile but for what its commands, and scripts behind them, leave to a shell without quotes."""
    end = 0
    for start, after in _scripts(content):
        yield end, start
        yield from ((start + first, start + last) for first, last in shell(content[start:after]))
        end = after
    yield end, len(content)


def _scripts(content: bytes) -> Iterator[Range]:
    """What a shell reads of a Dockerfile: a command, and the body of each here-document of it."""
    place = 0
    while run := _RUN.search(content, place):
        yield run.span()
        place = run.end() + 1
        for word in _HEREDOC.finditer(run[0]):
            if end := _end_of(word["word"], content, place):
                yield place, end
                place = end


def markup(content: bytes) -> Iterator[Range]:
    """Comments, CDATA, scripts and styles of a page."""
    return (match.span() for match in _RAW.finditer(content))


def template(content: bytes) -> Iterator[Range]:
    """Those, and the code that makes a page; all of a text that has no tags."""
    if b"</" not in content:
        return iter([(0, len(content))])
    return (match.span() for match in _CODE.finditer(content))


def begins_string(content: bytes, place: int) -> bool:
    """Whether a place of a template is the first of a string, by what stands before it."""
    return _STRING.search(content, max(0, place - _NEAR), place) is not None


def prose(content: bytes) -> Iterator[Range]:
    """Code in a page of Markdown, and what stands before its first line."""
    return (match.span() for match in _FENCED.finditer(content))


def _end_of(word: bytes, content: bytes, place: int) -> int | None:
    """Where the here-document that begins at a place ends."""
    end = re.compile(rb"^\t*" + re.escape(word) + rb"\r?$", re.MULTILINE).search(content, place)
    return end.end() if end else None
