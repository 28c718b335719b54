"""What .gitattributes of a commit says of its paths: linguist-generated, linguist-vendored, linguist-language.

Git itself answers, from an index of our own that holds the .gitattributes files alone: so a bare repository is asked as any other, and no
setting of the user's takes part. `check-attr --source` does the same from git 2.40 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from finetune.data.repos.git import GitFailed, Store
from finetune.data.repos.trees import Entry

NAMES = ("linguist-generated", "linguist-vendored", "linguist-language")
_MAX_BYTES = 100 << 20  # git itself passes over a larger one
_UNSAID = frozenset({b"unspecified", b""})


class Marks(NamedTuple):
    """What is said of one path; None: nothing."""

    generated: bool | None = None
    vendored: bool | None = None
    language: str | None = None


NOTHING = Marks()


class Attributes:
    """The marks of a commit's paths."""

    def __init__(self, store: Store, entries: Iterable[Entry]) -> None:
        """`entries` are those of the commit; without a .gitattributes among them git is never asked."""
        files = [entry for entry in entries if entry.raw.rpartition(b"/")[2] == b".gitattributes" and entry.mode.startswith("100")]
        self._store = store
        self._files = files
        if files:
            self._index(files)

    def of(self, paths: Iterable[bytes]) -> dict[bytes, Marks]:
        """The marks of those paths that have any. A .gitattributes that is not there, or damaged, says nothing."""
        if not self._files:
            return {}
        asked = [*paths]
        try:
            return self._told(asked)
        except GitFailed:  # a damaged one ends git's work
            blobs = self._store.blobs([entry.oid for entry in self._files], max_bytes=_MAX_BYTES)
            damaged = {blob.oid for blob in blobs if blob.reason == "unreadable"}
            self._index([entry._replace(mode="0") for entry in self._files if entry.oid in damaged])
        return self._told(asked)

    def _index(self, files: Iterable[Entry]) -> None:
        """Puts files into the index; those of mode 0 it forgets."""
        lines = (f"{entry.mode} {entry.oid} 0\t".encode() + entry.raw + b"\0" for entry in files)
        for _ in self._store.answers(lines, "update-index", "-z", "--index-info"):
            pass

    def _told(self, paths: Iterable[bytes]) -> dict[bytes, Marks]:
        found: dict[bytes, dict[str, bytes]] = {}
        answers = self._store.answers((path + b"\0" for path in paths), "check-attr", "--cached", "-z", "--stdin", *NAMES)
        for path, name, value in _threes(answers):
            if value not in _UNSAID:
                found.setdefault(path, {})[name.decode()] = value
        return {path: _marks(values) for path, values in found.items()}


def _threes(answers: Iterator[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
    while three := [*islice(answers, 3)]:
        path, name, value = three
        yield path, name, value


def _marks(values: dict[str, bytes]) -> Marks:
    language = values.get("linguist-language", b"").decode(errors="replace")
    return Marks(
        _said(values.get("linguist-generated")), _said(values.get("linguist-vendored")), None if language in {"set", "unset"} else language
    )


def _said(value: bytes | None) -> bool | None:
    """As linguist reads it: whatever is not false is true."""
    return None if value is None else value not in {b"unset", b"false"}
