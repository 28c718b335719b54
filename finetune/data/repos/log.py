"""Commits as the log tells them: whole, or around what can not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from finetune.data.repos.git import GitFailed, Store
from finetune.data.repos.renames import Delta
from finetune.data.repos.trees import MISSING_TREE
from finetune.data.texts import printable_path

FORMAT = "--format=%H %ct%n%an%n%ae%n%B"
SHOWN = ("--raw", "-z", "--no-abbrev", "--no-renames", FORMAT)
PLAIN, MERGED = ("--no-merges",), ("-c",)  # MERGED: of a merge, the files that are as in none of its parents
RETRIED = 256  # commits asked for at once where some can not be read


class Commit(NamedTuple):
    """A commit without its files; `fault` says why there are no deltas where it has one.

    `date`: when it was committed, in seconds since 1970; 0 where it does not say. The deltas of a merge have a path alone.
    """

    oid: str
    author: str = ""
    email: str = ""
    message: bytes = b""
    deltas: Sequence[Delta] = ()
    fault: str | None = None
    date: int = 0


def read_log(store: Store, commit: str, *, limit: int | None = None, since: int | None = None, merges: bool = False) -> Iterator[Commit]:
    """The commits that lead to `commit`, newest first, with their merges or without: at most `limit` that were committed since.

    Those with an older date are among them only where newer ones are behind them: for the renames in them, and beyond `limit`.
    """
    asked = _Asked(store, commit, SHOWN + (MERGED if merges else PLAIN), () if merges else PLAIN)
    if since is None:
        yield from _read(asked, limit)
        return
    # By its walk git would end at the first commit with a wrong, older date, and lose what is behind it.
    dates, whole = _listed(asked)
    recent = [place for place, date in enumerate(dates.values()) if date >= since][:limit]
    found = _read(asked, recent[-1] + 1) if recent else iter(())
    yield from (each for each in found if each.oid)
    if not whole and (limit is None or len(recent) < limit):
        yield Commit("", fault="missing_commit", date=since)


class _Asked(NamedTuple):
    """What is asked of git: how commits are shown, and which of those that lead to `commit`."""

    store: Store
    commit: str
    shown: Sequence[str]
    chosen: Sequence[str]


def _read(asked: _Asked, limit: int | None) -> Iterator[Commit]:
    if limit is not None:
        asked = asked._replace(chosen=[*asked.chosen, f"--max-count={limit}"])
    given = 0
    try:
        for found in _commits(asked.store.tokens("log", *asked.shown, *asked.chosen, asked.commit, "--")):
            given += 1
            yield found
    except GitFailed:
        # It stops at the first commit of which a folder or a parent is not there, as in a clone without trees.
        yield from _around(asked, given=given)


def _around(asked: _Asked, *, given: int) -> Iterator[Commit]:
    """The commits after the first `given`, each that can not be read with its fault."""
    dates, whole = _listed(asked)
    rest = [*dates][given:]
    there = dict(zip(rest, _with_tree(asked.store, rest), strict=True))
    found = _one_by_one(asked, [oid for oid in rest if there[oid]], dates)
    for oid in rest:
        yield next(found) if there[oid] else Commit(oid, fault=MISSING_TREE, date=dates[oid])
    if not whole:  # one is not there, nor what lies before it: no younger than what could be read last
        yield Commit("", fault="missing_commit", date=[*dates.values()][-1] if dates else date_of(asked.store, asked.commit))


def _listed(asked: _Asked) -> tuple[dict[str, int], bool]:
    """The ids of the commits that can be reached, with their dates, and whether that is all of them."""
    content, whole = b"", True
    try:
        for piece in asked.store.tokens("rev-list", "--timestamp", *asked.chosen, asked.commit, "--"):
            content += piece
    except GitFailed:
        whole = False
    lines = (line.split(" ") for line in content.decode().splitlines())
    return {oid: int(date) for date, oid in lines}, whole


def date_of(store: Store, commit: str) -> int:
    """When a commit was committed, in seconds since 1970, though its parents are not there."""
    return int(b"".join(store.tokens("log", "--no-walk", "--format=%ct", commit, "--")).strip() or 0)


def first_parents(store: Store, commit: str) -> Iterator[tuple[str, int]]:
    """A commit, its first parent, the first parent of that, with their dates, newest first, as far as they are there."""
    reached = commit
    try:
        for line in store.tokens("log", "-z", "--first-parent", "--format=%H %ct,%P", commit, "--"):
            head, _, parents = line.decode().partition(",")
            oid, _, date = head.partition(" ")
            yield oid, int(date or 0)
            reached = parents.partition(" ")[0]
    except GitFailed:  # git says nothing of a commit whose parents are not there
        with suppress(GitFailed):
            yield reached, date_of(store, reached)


def _with_tree(store: Store, oids: list[str]) -> Iterator[bool]:
    for blob in store.blobs([f"{oid}^{{tree}}" for oid in oids], max_bytes=0):
        yield blob.reason in {None, "too_large"}


def _one_by_one(asked_for: _Asked, oids: list[str], dates: Mapping[str, int]) -> Iterator[Commit]:
    for start in range(0, len(oids), RETRIED):
        asked = oids[start : start + RETRIED]
        while asked:
            given = 0
            lines = (f"{oid}\n".encode() for oid in asked)
            try:
                for found in _commits(asked_for.store.answers(lines, "log", *asked_for.shown, "--no-walk=unsorted", "--stdin")):
                    given += 1
                    yield found
                assert given == len(asked), "git log left a commit out"
            except GitFailed:
                yield Commit(asked[given], fault=MISSING_TREE, date=dates[asked[given]])
                given += 1
            asked = asked[given:]


def _commits(tokens: Iterator[bytes]) -> Iterator[Commit]:
    """Raises GitFailed where the tokens do, after the last commit that is whole."""
    found: Commit | None = None
    deltas: list[Delta] = []
    failure: GitFailed | None = None
    try:
        for token in tokens:
            line = token.removeprefix(b"\n")
            if line[:1] == b":":  # a delta begins so, a commit with its id
                deltas.append(_delta(line, printable_path(next(tokens))))
            elif line:  # git writes one NUL more after the head of a merge
                if found:
                    yield found
                deltas = []
                found = _commit(token, deltas)
    except GitFailed as error:
        failure = error
    if found:
        yield found
    if failure:
        raise failure


def _commit(token: bytes, deltas: list[Delta]) -> Commit:
    head, author, email, message = token.split(b"\n", 3)
    oid, _, date = head.decode().partition(" ")
    return Commit(oid, author.decode(errors="replace"), email.decode(errors="replace"), message, deltas, date=int(date or 0))


def _delta(line: bytes, path: str) -> Delta:
    if line[:2] == b"::":
        return Delta("", "", "", "", line.decode().rpartition(" ")[2], path)
    return Delta._make((*line[1:].decode().split(" "), path))
