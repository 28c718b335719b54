"""What .gitattributes of a commit says of its paths: linguist-generated, linguist-vendored, linguist-language.

Git itself answers, from an index of our own that holds the .gitattributes files alone: so a bare repository is asked as any other, and no
setting of the user's takes part. `check-attr --source` does the same from git 2.40 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from finetune.data.repos.git import Store
from finetune.data.repos.trees import Entry

NAMES = ("linguist-generated", "linguist-vendored", "linguist-language")
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
        self._exist = bool(files)
        if files:
            lines = (f"{entry.mode} {entry.oid} 0\t".encode() + entry.raw + b"\0" for entry in files)
            for _ in store.answers(lines, "update-index", "-z", "--index-info"):
                pass

    def of(self, paths: Iterable[bytes]) -> dict[bytes, Marks]:
        """The marks of those paths that have any."""
        if not self._exist:
            return {}
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
