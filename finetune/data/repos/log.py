"""Commits as the log tells them: whole, or around what can not be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from finetune.data.repos.git import GitFailed, Store
from finetune.data.repos.renames import Delta
from finetune.data.repos.trees import MISSING_TREE
from finetune.data.texts import printable_path

SHOWN = ("--raw", "-z", "--no-abbrev", "--no-renames", "--no-merges", "--format=%H%n%an%n%ae%n%B")
RETRIED = 256  # commits asked for at once where some can not be read


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit without its files; `fault` says why there are no deltas where it has one."""

    oid: str
    author: str = ""
    email: str = ""
    message: bytes = b""
    deltas: list[Delta] = field(default_factory=list)
    fault: str | None = None


def read_log(store: Store, commit: str, *, limit: int | None = None, since: int | None = None) -> Iterator[Commit]:
    """The commits without merges that lead to `commit`, newest first: at most `limit`, none that was committed before `since`."""
    chosen = ["--no-merges"] + ([] if limit is None else [f"--max-count={limit}"]) + ([] if since is None else [f"--max-age={since}"])
    given = 0
    try:
        for found in _commits(store.tokens("log", *SHOWN, *chosen, commit, "--")):
            given += 1
            yield found
    except GitFailed:
        # It stops at the first commit of which a folder or a parent is not there, as in a clone without trees.
        yield from _around(store, commit, chosen, given=given)


def _around(store: Store, commit: str, chosen: list[str], *, given: int) -> Iterator[Commit]:
    """The commits after the first `given`, each that can not be read with its fault."""
    oids, whole = _listed(store, commit, chosen)
    rest = oids[given:]
    there = dict(zip(rest, _with_tree(store, rest), strict=True))
    found = _one_by_one(store, [oid for oid in rest if there[oid]])
    for oid in rest:
        yield next(found) if there[oid] else Commit(oid, fault=MISSING_TREE)
    if not whole:
        yield Commit("", fault="missing_commit")  # and whatever lies before it


def _listed(store: Store, commit: str, chosen: list[str]) -> tuple[list[str], bool]:
    """The ids of the commits that can be reached, and whether that is all of them."""
    content = b""
    try:
        for piece in store.tokens("rev-list", *chosen, commit, "--"):
            content += piece
    except GitFailed:
        return content.decode().split(), False
    return content.decode().split(), True


def _with_tree(store: Store, oids: list[str]) -> Iterator[bool]:
    for blob in store.blobs([f"{oid}^{{tree}}" for oid in oids], max_bytes=0):
        yield blob.reason in {None, "too_large"}


def _one_by_one(store: Store, oids: list[str]) -> Iterator[Commit]:
    for start in range(0, len(oids), RETRIED):
        asked = oids[start : start + RETRIED]
        while asked:
            given = 0
            lines = (f"{oid}\n".encode() for oid in asked)
            try:
                for found in _commits(store.answers(lines, "log", *SHOWN, "--no-walk=unsorted", "--stdin")):
                    given += 1
                    yield found
                assert given == len(asked), "git log left a commit out"
            except GitFailed:
                yield Commit(asked[given], fault=MISSING_TREE)
                given += 1
            asked = asked[given:]


def _commits(tokens: Iterator[bytes]) -> Iterator[Commit]:
    """Raises GitFailed where the tokens do, after the last commit that is whole."""
    found: Commit | None = None
    failure: GitFailed | None = None
    try:
        for token in tokens:
            line = token.removeprefix(b"\n")
            if not line.startswith(b":"):  # a delta begins so, a commit with its id
                if found:
                    yield found
                found = _commit(token)
                continue
            assert found is not None
            old_mode, new_mode, before, after, status = line[1:].decode().split()
            found.deltas.append(Delta(old_mode, new_mode, before, after, status, printable_path(next(tokens))))
    except GitFailed as error:
        failure = error
    if found:
        yield found
    if failure:
        raise failure


def _commit(token: bytes) -> Commit:
    oid, author, email, message = token.split(b"\n", 3)
    return Commit(oid.decode(), author.decode(errors="replace"), email.decode(errors="replace"), message)
