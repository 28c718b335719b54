"""The readers that history_pairs.py measures, each in a process of its own.

    python benchmarks/history_readers.py REPOSITORY READER [--check]

Prints the number of pairs, their characters and, with --check, the sum of their checksums. Nothing is imported that the reader does
not need: the start counts.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator

Pair = tuple[str, str, str]  # the commit, and the file before and after it


def finetune_pairs(path: str) -> Iterator[Pair]:
    from collections import Counter

    from finetune.data.repos.log import read_log
    from finetune.data.repos.opening import open_repository
    from finetune.data.repos.versions import Versions

    repository = open_repository(path, "HEAD")
    with repository.store() as store:
        found = [
            (delta.path, commit.oid, delta.before, delta.after)
            for commit in read_log(store, repository.commit)
            for delta in commit.deltas
            if delta.status == "M" and delta.new_mode.startswith("100") and delta.before != delta.after
        ]
        found.sort(key=lambda pair: pair[0])
        texts = Versions(store, Counter(oid for _, _, before, after in found for oid in (after, before)), 1 << 30)
        for _, commit, before, after in found:
            new, old = texts.take(after), texts.take(before)
            if new.reason is None and old.reason is None:
                yield commit, old.text, new.text


def pygit2_pairs(path: str) -> Iterator[Pair]:
    import pygit2

    pygit2.option(pygit2.GIT_OPT_SET_OWNER_VALIDATION, 0)
    repository = pygit2.Repository(path)
    for commit in repository.walk(repository.head.target, pygit2.GIT_SORT_NONE):
        if len(commit.parents) != 1:
            continue
        for delta in repository.diff(commit.parents[0], commit).deltas:
            if delta.status == pygit2.GIT_DELTA_MODIFIED and _regular(delta.old_file.mode) and _regular(delta.new_file.mode):
                before, after = delta.old_file.id, delta.new_file.id
                if before != after:
                    yield from _texts(str(commit.id), repository[before].data, repository[after].data)


def gitpython_pairs(path: str) -> Iterator[Pair]:
    import git

    repository = git.Repo(path)
    for commit in repository.iter_commits("HEAD", no_merges=True):
        if not commit.parents:
            continue
        for delta in commit.parents[0].diff(commit, no_renames=True):
            if delta.change_type == "M" and _regular(delta.a_mode) and _regular(delta.b_mode) and delta.a_blob != delta.b_blob:
                yield from _texts(commit.hexsha, delta.a_blob.data_stream.read(), delta.b_blob.data_stream.read())
    repository.close()


def changes(path: str) -> Iterator[Pair]:
    from finetune.data.repos import open_repository, read_changes
    from finetune.data.tally import Tally

    for change in read_changes(open_repository(path, "HEAD"), Tally(), limit=None):
        yield change.origin.commit, change.before, change.after


def _regular(mode: int) -> bool:
    return mode & 0o170000 == 0o100000


def _texts(commit: str, before: bytes, after: bytes) -> Iterator[Pair]:
    """The pair if both are text, by the rule of finetune.data.texts, said once more without it."""
    texts = []
    for content in (before, after):
        if b"\0" in content or content.startswith((b"\xff\xfe", b"\xfe\xff", b"version https://git-lfs.github.com/spec/")):
            return
        try:
            texts.append(content.removeprefix(b"\xef\xbb\xbf").decode())
        except UnicodeDecodeError:
            return
        if not texts[-1].strip():
            return
    yield commit, texts[0], texts[1]


def main() -> None:
    path, name, check = sys.argv[1], sys.argv[2], "--check" in sys.argv[3:]
    readers = {"finetune": finetune_pairs, "pygit2": pygit2_pairs, "gitpython": gitpython_pairs, "changes": changes}
    count = size = total = 0
    for commit, before, after in readers[name](path):
        count, size = count + 1, size + len(before) + len(after)
        if check:
            total = (total + zlib.crc32((commit + before).encode()) * (1 << 16) + zlib.crc32(after.encode())) % (1 << 64)
    print(count, size, total)


if __name__ == "__main__":
    main()
