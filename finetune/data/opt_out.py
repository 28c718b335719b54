"""Opt-out lists: whose code is left out.

A list is a text file, one entry a line, `#` begins a comment:

    someone                          an owner: every repository of theirs, now and later
    someone/project                  a repository
    owner: some-group                the same, said in full; also for groups: a, a/b
    repository: tool                 a repository without an owner, by its name
    path: legacy/                    paths of every repository, as in .gitignore
    path: someone/project: src/old/  paths of one repository
    author: jane@corp.test           an author, by e-mail, by name, or by both: Jane Doe <jane@corp.test>

Owners and repositories are those of the remote `origin`, and of the name a recipe gives; authors are those of commits, and their
`Co-authored-by`. Capitals do not count but in paths. Bare lines are the form in which BigCode's opt-out is kept
(github.com/bigcode-project/opt-out-v2).

What an author's entry leaves out: every commit of theirs; every file they created or were the last to change; every change of such a
file, and every change from or to a version they wrote. A file of others that they only touched in between stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from finetune.data.masks import Mask, fault_of
from finetune.errors import DataError
from finetune.files import of_user

OWNER, REPOSITORY, PATH, AUTHOR = (f"opted_out_{kind}" for kind in ("owner", "repository", "path", "author"))
_ENTRY = re.compile(r"(owner|repository|path|author)\s*:\s*(.*)")
_ADDRESSED = re.compile(r"(.*?)\s*<(.+)>")
_CO_AUTHOR = re.compile(r"^co-authored-by:\s*(.*?)\s*<([^>\n]*)>", re.IGNORECASE | re.MULTILINE)
_FORGE_ADDRESS = re.compile(r"(?:\d+\+)?([^@]+)@users\.noreply\.\S+")


@dataclass(frozen=True, slots=True)
class OptOut:
    """The entries of all lists, lower case but for paths. `paths` are (repository or "", mask) in the order they stand."""

    owners: frozenset[str] = frozenset()
    repositories: frozenset[str] = frozenset()
    paths: tuple[tuple[str, Mask], ...] = ()
    authors: frozenset[str] = frozenset()
    digest: str = ""

    def against_repository(self, names: Iterable[str]) -> str | None:
        """The reason to leave out a repository that is called by these names (owner/name, or a name alone)."""
        known = [name.lower() for name in names]
        if any(name in self.repositories for name in known):
            return REPOSITORY
        parts = (name.split("/")[:-1] for name in known)
        owners = {"/".join(part[start:end]) for part in parts for start in range(len(part)) for end in range(start + 1, len(part) + 1)}
        return OWNER if owners & self.owners else None

    def against_path(self, names: Iterable[str], path: str) -> str | None:
        """The reason to leave out a path of a repository."""
        if not self.paths:
            return None
        known = {"", *(name.lower() for name in names)}
        return PATH if any(repository in known and mask.covers(path) for repository, mask in self.paths) else None

    def against_author(self, name: str, email: str, message: str = "") -> str | None:
        """The reason to leave out a commit of this author, or of the co-authors its message names."""
        people = [(name, email), *_CO_AUTHOR.findall(message)] if self.authors else []
        return AUTHOR if any(known in self.authors for person in people for known in _names_of(*person)) else None


@dataclass(slots=True)
class _Entries:
    """What has been read so far."""

    owners: set[str] = field(default_factory=set)
    repositories: set[str] = field(default_factory=set)
    authors: set[str] = field(default_factory=set)
    paths: list[tuple[str, Mask]] = field(default_factory=list)


def read_opt_out(lists: Iterable[str]) -> OptOut:
    """The entries of text files. Raises DataError where one can not be read or understood."""
    entries = _Entries()
    total = hashlib.sha256()
    for name in lists:
        text = _text(name)
        total.update(text.encode() + b"\0")
        for number, line in enumerate(text.splitlines(), start=1):
            if entry := re.sub(r"(?:^|\s)#.*", "", line).strip():
                _take(entry, entries, f"{name}:{number}")
    owners, repositories, authors = (frozenset(found) for found in (entries.owners, entries.repositories, entries.authors))
    return OptOut(owners, repositories, tuple(entries.paths), authors, total.hexdigest())


def _text(name: str) -> str:
    try:
        return of_user(name).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"data.opt_out: {name}: {error.strerror}; write the path of a text file, one entry a line") from error
    except UnicodeDecodeError as error:
        raise DataError(f"data.opt_out: {name}: no UTF-8 text ({error.reason}); save it as UTF-8") from error


def _take(entry: str, entries: _Entries, place: str) -> None:
    known = _ENTRY.fullmatch(entry)
    kind, value = known.groups() if known else ("", entry)
    if not value:
        raise DataError(f"{place}: {kind}: names nothing; write {kind}: and a name, or take the line out")
    match kind:
        case "path":
            entries.paths.append(_path(value, place))
        case "author":
            named = _ADDRESSED.fullmatch(value)
            entries.authors.update(_words(part) for part in (named.groups() if named else (value,)) if part)
        case "owner":
            entries.owners.add(_name(value, place))
        case "repository":
            entries.repositories.add(_name(value, place))
        case _:
            (entries.repositories if "/" in value else entries.owners).add(_name(value, place))


def _name(value: str, place: str) -> str:
    if re.search(r"[\s:*@]", value):
        kinds = "owner:, repository:, path: or author:"
        raise DataError(f"{place}: found {value!r}, no owner or repository; write OWNER, OWNER/NAME, or begin the line with {kinds}")
    return value.lower().strip("/")


def _path(value: str, place: str) -> tuple[str, Mask]:
    repository, colon, pattern = value.partition(":")
    if not colon:
        repository, pattern = "", value
    pattern = pattern.strip()
    if fault := fault_of(pattern):
        raise DataError(f"{place}: path {pattern!r} {fault}")
    return repository.strip().lower().removesuffix("*"), Mask((pattern,))


def _words(value: str) -> str:
    return " ".join(value.split()).casefold()


def _names_of(name: str, email: str) -> Iterable[str]:
    yield _words(name)
    yield _words(email)
    if forge := _FORGE_ADDRESS.fullmatch(email):
        yield _words(forge[1])
