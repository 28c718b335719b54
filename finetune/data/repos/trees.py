"""The paths of a commit, without the content of a single file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from finetune.data.repos.git import GitFailed, Store
from finetune.data.texts import printable_path

MAX_TREE = 1 << 30  # bytes of one folder's list of names
MISSING_TREE = "missing_tree"


class Entry(NamedTuple):
    """One path of a tree; `size` in bytes is None where git does not have the object, there is none, or nobody asked.

    `raw` is the path as git stores it. A folder that can not be read is one entry of kind MISSING_TREE.
    """

    mode: str
    kind: str
    oid: str
    size: int | None
    path: str
    raw: bytes


def list_tree(store: Store, commit: str) -> list[Entry]:
    """Every path of a commit, in git's order; nothing but the names and sizes is read."""
    try:
        return [_entry(line) for line in store.tokens("ls-tree", "-r", "-z", "-l", "--full-tree", commit)]
    except GitFailed:
        # It stops at the first folder that is not there, as in a clone without trees; what is beside it must not be lost.
        return sorted(_walked(store, commit), key=lambda entry: entry.raw)


def _entry(line: bytes) -> Entry:
    head, _, path = line.partition(b"\t")
    mode, kind, oid, size = head.decode().split()
    return Entry(mode, kind, oid, int(size) if size.isdigit() else None, printable_path(path), path)


def _walked(store: Store, commit: str) -> Iterator[Entry]:
    """Every path, folder by folder, level by level."""
    level = [(f"{commit}^{{tree}}", b"")]
    while level:
        below = []
        answers = store.blobs([oid for oid, _ in level], max_bytes=MAX_TREE)
        for (oid, folder), blob in zip(level, answers, strict=True):
            if blob.reason:
                yield Entry("040000", MISSING_TREE, oid, None, printable_path(folder), folder)
                continue
            for mode, path, inner in _children(blob.content, folder, oid_bytes=len(commit) // 2):
                if mode == "40000":
                    below.append((inner, path))
                else:
                    kind = "commit" if mode == "160000" else "blob"
                    yield Entry(mode.zfill(6), kind, inner, None, printable_path(path), path)
        level = below


def _children(tree: bytes, folder: bytes, *, oid_bytes: int) -> Iterator[tuple[str, bytes, str]]:
    """Mode, path and id of what stands in a tree object: `mode name NUL id`, one after the other."""
    place = 0
    while place < len(tree):
        end = tree.index(b"\0", place)
        mode, _, name = tree[place:end].partition(b" ")
        place = end + 1 + oid_bytes
        yield mode.decode(), folder + b"/" + name if folder else name, tree[end + 1 : place].hex()
