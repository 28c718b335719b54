"""Licences: what a file states itself, else what the nearest licence file above it says. All as SPDX expressions."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable

from finetune.data.classifier import licences_in

UNKNOWN = "LicenseRef-unknown"  # there is a licence text, and it is none of the known ones
HEAD = 4096  # characters in which a file states its licence

TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+()\- ]+)")
NOTICE = re.compile(r"licen[sc]e|permission is hereby granted|redistribution and use", re.IGNORECASE)
COMMENT = re.compile(r"\A(?:\s*(?:#|//|/\*|\*|--|;|%|<!--|\"\"\"|'''|dnl\b|rem\b|\.\\\")[^\n]*\n|[ \t]*\n)+", re.IGNORECASE)
BLOCK = re.compile(r"\A(?:#![^\n]*\n)?\s*(?:/\*.*?\*/|<!--.*?-->|\"\"\".*?\"\"\"|'''.*?''')", re.DOTALL)
MARKS = re.compile(r"^[ \t]*(?:#+|//+|/\*+|\*+/?|--+|;+|%+|<!--|-->|\"\"\"|'''|dnl\b|rem\b)[ \t]?", re.IGNORECASE | re.MULTILINE)
FILE = re.compile(r"(?:un)?licen[cs]e|copying|copyright", re.IGNORECASE)
NOTICE_FILE = re.compile(r"notice(?:\.(?:txt|md|rst))?", re.IGNORECASE)
NOT_FILE = re.compile(r"\.(?:py|js|ts|go|rs|java|c|h|cc|cpp|rb|php|json|ya?ml|toml|xml|svg|png|css|sh|spdx)$", re.IGNORECASE)
PAGE = re.compile(r"\.(?:md|mdx|rst|adoc|html?)$", re.IGNORECASE)
# LICENSE-MIT beside LICENSE-APACHE offers a choice; any other pair of licence files asks for both.
CHOICE = re.compile(r"licen[cs]e[-._](?:mit|apache|bsd|isc|zlib|boost|unlicense|[al]?gpl|mpl)[\w.-]*|unlicen[cs]e[\w.-]*", re.IGNORECASE)
# So does a short file beside them that says so: "dual-licensed under the Unlicense and MIT licenses".
OFFER = re.compile(r"\bdual[-\s]+licen[cs]ed\b|\beither\s+(?:of\s+(?:the|these)\s+(?:two\s+)?)?licen[cs]es?\b", re.IGNORECASE)
LONGEST_OFFER = 4096  # characters


def is_licence_file(path: str) -> bool:
    """Whether a path is the licence of its folder, by name."""
    folder, _, name = path.rpartition("/")
    # REUSE keeps texts in LICENSES/; there each file says itself which one it falls under.
    return FILE.match(name) is not None and NOT_FILE.search(name) is None and folder.rpartition("/")[2] != "LICENSES"


def is_notice_file(path: str) -> bool:
    """Whether a path is a NOTICE, which tells a folder's licence where no licence file does."""
    return NOTICE_FILE.fullmatch(path.rpartition("/")[2]) is not None


def licence_of_text(text: str) -> str | None:
    """What a file states at its head: an SPDX tag, or a known licence's notice in its first comment."""
    head = text[:HEAD]
    if tag := TAG.search(head):
        return _trimmed(tag[1]) or None
    if not _may_speak_of_one(head) or NOTICE.search(head) is None:
        return None
    return _notice(head)


def _may_speak_of_one(head: str) -> bool:
    """Searches that cost a tenth of NOTICE, and pass over nothing that it finds: outside ASCII several letters have one small form."""
    lowered = head.lower()
    return not head.isascii() or "licen" in lowered or "permission is hereby granted" in lowered or "redistribution and use" in lowered


def licence_of_file(text: str) -> str:
    """The licence a licence file holds; UNKNOWN when it is no known one."""
    return _classified(text) or UNKNOWN


class Scopes:
    """The licence of each folder that has a licence file."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = folders

    @property
    def own(self) -> str | None:
        """The licence at the root: that of the repository as a whole."""
        return self._folders.get("")

    def of(self, path: str) -> str | None:
        """The licence of the nearest folder above the path, None when no folder has one."""
        folder = path
        while folder:
            folder = folder.rpartition("/")[0]
            if folder in self._folders:
                return self._folders[folder]
        return None


def read_scopes(files: Iterable[tuple[str, bytes]]) -> Scopes:
    """Scopes from licence and NOTICE files: (path, content)."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    notices: dict[str, dict[str, str]] = defaultdict(dict)
    offers = set()
    for path, content in files:
        folder, _, name = path.rpartition("/")
        text = content.decode(errors="replace")
        licence = licence_of_file(text)
        if licence == UNKNOWN and folder and PAGE.search(name):
            continue  # docs/license.md is mostly a page about the licence
        if licence == UNKNOWN and len(text) <= LONGEST_OFFER and OFFER.search(text):
            offers.add(folder)
        elif not is_notice_file(path):
            found[folder][name] = licence
        elif licence != UNKNOWN:  # most only say whose work it is
            notices[folder][name] = licence
    joined = {folder: _joined(licences, offered=folder in offers) for folder, licences in (notices | found).items()}
    return Scopes(dict.fromkeys(offers, UNKNOWN) | joined)


def _joined(licences: dict[str, str], *, offered: bool) -> str:
    names = sorted(set(licences.values()))
    word = " OR " if offered or all(CHOICE.fullmatch(name) for name in licences) else " AND "
    return word.join(f"({name})" if " " in name and len(names) > 1 else name for name in names)


def _trimmed(expression: str) -> str:
    """An SPDX expression without what follows it on the line."""
    words = expression.replace("(", " ( ").replace(")", " ) ").split()
    kept: list[str] = []
    for word in words:
        joins = not kept or kept[-1] in {"AND", "OR", "WITH", "("} or word in {"AND", "OR", "WITH", ")"}
        if not joins:
            break
        kept.append(word)
    return " ".join(kept).replace("( ", "(").replace(" )", ")").rstrip("-")


@functools.lru_cache(maxsize=4096)
def _notice(head: str) -> str | None:
    comment = BLOCK.search(head) or COMMENT.search(head)
    if comment is None or NOTICE.search(comment[0]) is None:
        return None
    return _classified(MARKS.sub("", comment[0]), coverage=40.0)


@functools.lru_cache(maxsize=4096)
def _classified(text: str, coverage: float = 75.0) -> str | None:
    return " AND ".join(licences_in(text, coverage=coverage)) or None
