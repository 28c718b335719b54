"""The files of a repository at its commit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from finetune.data.languages import language_of
from finetune.data.licences import Scopes, is_licence_file, licence_of_text, read_scopes
from finetune.data.repos.git import Blob, Store
from finetune.data.repos.opening import Repository
from finetune.data.repos.texts import decode, printable_path
from finetune.data.tally import Tally
from finetune.records import Origin, SourceFile

MAX_BYTES = 10_000_000  # a larger file is never read; the filter too_large asks for far less


class Entry(NamedTuple):
    """One path of a tree; `size` in bytes is None where git does not have the object, or there is none."""

    mode: str
    kind: str
    oid: str
    size: int | None
    path: str


def list_tree(store: Store, commit: str) -> Iterator[Entry]:
    """Every path of a commit, in git's order; nothing but the names and sizes is read."""
    for line in store.tokens("ls-tree", "-r", "-z", "-l", "--full-tree", commit):
        head, _, path = line.partition(b"\t")
        mode, kind, oid, size = head.decode().split()
        yield Entry(mode, kind, oid, int(size) if size.isdigit() else None, printable_path(path))


def read_files(repository: Repository, tally: Tally, *, max_bytes: int = MAX_BYTES) -> Iterator[SourceFile]:
    """Every file that is text in a known language; each of the others is counted with its reason.

    Each distinct blob is read once: the paths that share it come together, in the order of their first.
    """
    with repository.store() as store:
        entries = list(list_tree(store, repository.commit))
        scopes = scopes_of(store, entries)
        wanted: dict[str, list[str]] = {}
        for entry in entries:
            tally.read += 1
            if reason := _fault(entry, max_bytes):
                tally.drop(Origin(repository.name, repository.commit, entry.path), reason)
            else:
                wanted.setdefault(entry.oid, []).append(entry.path)
        for blob in store.blobs(wanted, max_bytes=max_bytes):
            yield from _files(repository, blob, paths=wanted[blob.oid], scopes=scopes, tally=tally)


def scopes_of(store: Store, entries: list[Entry]) -> Scopes:
    """The licence of each folder that holds a licence file."""
    texts = {entry.oid: entry.path for entry in entries if entry.mode.startswith("100") and is_licence_file(entry.path)}
    paths = [(entry.path, entry.oid) for entry in entries if entry.oid in texts and is_licence_file(entry.path)]
    contents = {blob.oid: blob.content for blob in store.blobs(texts, max_bytes=MAX_BYTES) if blob.reason is None}
    return read_scopes((path, contents[oid]) for path, oid in paths if oid in contents)


def _fault(entry: Entry, max_bytes: int) -> str | None:
    match entry:
        case Entry(kind="commit"):
            return "submodule"
        case Entry(mode="120000"):
            return "symlink"
        case Entry(size=0):
            return "empty"
        case Entry(size=int(size)) if size > max_bytes:
            return "too_large"
        case _:
            return None


def _files(repository: Repository, blob: Blob, *, paths: list[str], scopes: Scopes, tally: Tally) -> Iterator[SourceFile]:
    text, reason = decode(blob)
    stated = licence_of_text(text)
    for path in paths:
        language = None if reason else language_of(path, text)
        origin = Origin(repository.name, repository.commit, path, stated or scopes.of(path))
        if language is None:
            tally.drop(origin, reason or "unknown_language")
        else:
            yield SourceFile(origin, language, text)
