"""Licences of folders: what the nearest licence file above a file says. All as SPDX expressions."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable

from finetune.data.classifier import licences_in
from finetune.data.clauses import licences_by_clauses
from finetune.data.named_licences import RESTRICTED, licence_titled, licences_named, with_binding
from finetune.data.own_terms import RESERVED
from finetune.data.spdx import UNKNOWN, joined
from finetune.data.variants import finer

COVERAGE = 75.0  # percent of a file's words that known texts must be

FILE = re.compile(r"(?:un)?licen[cs]e|copying|copyright", re.IGNORECASE)
# Named for a licence after what it covers, or for the licence alone: MIT-LICENSE, GPL.txt, jquery-license.md. BigCode's expression for
# licence files is the model (bigcode-dataset, license detection). Such a file counts where it holds a known text.
NAMED = re.compile(
    r"(?:.*[-_. ])?(?:li[cs]en[cs]es?|unlicen[cs]e|copy(?:left|right|ing)|legal|[al]?gpl|[ecm]pl|eupl|bsd|mit|apache|artistic|cc0|isc|zlib)"
    r"v?[\d.]*(?:[-_. ].*)?",
    re.IGNORECASE,
)
OF_OTHERS = re.compile(r"(?:3rd|third)[-_. ]?part(?:y|ies)|dependenc", re.IGNORECASE)  # speaks of what is used, not of its folder
TEXTS = re.compile(r"licen[cs]es", re.IGNORECASE)
NOTICE_FILE = re.compile(r"notice(?:\.(?:txt|md|rst))?", re.IGNORECASE)
NOT_FILE = re.compile(r"\.(?:py|js|ts|go|rs|java|c|h|cc|cpp|rb|php|json|ya?ml|toml|xml|svg|png|css|sh|spdx)$", re.IGNORECASE)
PAGE = re.compile(r"\.(?:md|mdx|rst|adoc|html?)$", re.IGNORECASE)
# LICENSE-MIT beside LICENSE-APACHE offers a choice; any other pair of licence files asks for both.
CHOICE = re.compile(r"licen[cs]e[-._](?:mit|apache|bsd|isc|zlib|boost|unlicense|[al]?gpl|mpl)[\w.-]*|unlicen[cs]e[\w.-]*", re.IGNORECASE)
# So does a short file beside them that says so: "dual-licensed under the Unlicense and MIT licenses".
OFFER = re.compile(r"\bdual[-\s]+licen[cs]ed\b|\beither\s+(?:of\s+(?:the|these)\s+(?:two\s+)?)?licen[cs]es?\b", re.IGNORECASE)
LONGEST_OFFER = 4096  # characters
LONGEST_NOTICE = 1000  # characters of a file that only names its licence


def is_licence_file(path: str) -> bool:
    """Whether a path is the licence of its folder, by name."""
    return FILE.match(_name(path)) is not None and _may_be_one(path)


def is_named_for_a_licence(path: str) -> bool:
    """Whether a path may be the licence of its folder, if it holds a known text."""
    return NAMED.fullmatch(_name(path)) is not None and _may_be_one(path)


def is_notice_file(path: str) -> bool:
    """Whether a path is a NOTICE, which tells a folder's licence where no licence file does."""
    return NOTICE_FILE.fullmatch(_name(path)) is not None


def licence_of_file(text: str) -> str:
    """The licence a licence file holds; UNKNOWN when it is no known one."""
    return _classified(text)


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

    def of_file(self, path: str, stated: str | None) -> str | None:
        """The licence of a file that states this one itself, or none.

        A reservation under no folder's licence ("Confidential. Property of ACME.") is what a team writes over its own code: it grants
        nothing and says what having no licence says, so it is none. Under a licence it is an exception from that one. Beside known licences
        it adds nothing where it is the team's own, and RESTRICTED where it is not.
        """
        above = self.of(path)
        if stated == RESERVED:
            return None if above is None else UNKNOWN
        if stated and RESERVED in stated:
            ours = above is None or above == self.own == UNKNOWN
            return _without_reserved(stated) if ours else stated.replace(RESERVED, RESTRICTED)
        return stated or above

    def of_versions(self, path: str, stated: Iterable[str | None]) -> str | None:
        """The licence of a change between versions that state these: all of them bind, and none where one has none.

        Unknown terms of one version bind beside the known ones of another, but for those of the repository itself.
        """
        found = {self.of_file(path, each) for each in stated}
        if UNKNOWN in found and self.own != UNKNOWN:
            known = found - {UNKNOWN, None}
            return joined({RESTRICTED, *known}) if known else UNKNOWN
        return None if None in found else joined(found)


def read_scopes(files: Iterable[tuple[str, bytes]]) -> Scopes:
    """Scopes from files that may be licences, by their names, and NOTICE files: (path, content)."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    notices: dict[str, dict[str, str]] = defaultdict(dict)
    offers = set()
    for path, content in files:
        folder, _, name = path.rpartition("/")
        text = content.decode(errors="replace")
        licence = licence_of_file(text)
        if licence != UNKNOWN:
            (notices if is_notice_file(path) else found)[folder][name] = licence
        elif not is_licence_file(path) or (folder and PAGE.search(name)):
            continue  # most NOTICEs only say whose work it is; docs/license.md is mostly a page about the licence
        elif len(text) <= LONGEST_OFFER and OFFER.search(text):
            offers.add(folder)
        else:
            found[folder][name] = UNKNOWN
    folders = {folder: _together(licences, offered=folder in offers) for folder, licences in (notices | found).items()}
    return Scopes(dict.fromkeys(offers, UNKNOWN) | folders)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _without_reserved(expression: str) -> str:
    rest = expression.replace(f"{RESERVED} AND ", "").replace(f" AND {RESERVED}", "")
    return re.sub(r"\A\(([^()]*)\)\Z", r"\1", rest)  # one choice needs no brackets


def _may_be_one(path: str) -> bool:
    """Not code, not a list of what others ask, and not in a folder of texts, as REUSE keeps them: there each file names its own."""
    folder, _, name = path.rpartition("/")
    return not (NOT_FILE.search(name) or OF_OTHERS.search(name) or TEXTS.fullmatch(folder.rpartition("/")[2]))


def _together(licences: dict[str, str], *, offered: bool) -> str:
    choice = offered or all(CHOICE.fullmatch(name) for name in licences)
    return joined(licences.values(), "OR" if choice else "AND") or UNKNOWN


@functools.lru_cache(maxsize=4096)
def _classified(text: str) -> str:
    known = with_binding(finer(licences_in(text, coverage=COVERAGE) or licences_by_clauses(text), text), text)
    if not known:
        known = len(text) <= LONGEST_NOTICE and licences_named(text) or licence_titled(text)
    return joined(known) or UNKNOWN
