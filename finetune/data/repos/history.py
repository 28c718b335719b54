"""The changes in a repository's history that touch one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from finetune.data.languages import language_of
from finetune.data.licences import Scopes, licence_of_text
from finetune.data.repos.files import MAX_BYTES, list_tree, scopes_of
from finetune.data.repos.git import Store
from finetune.data.repos.opening import Repository
from finetune.data.repos.renames import Delta, Names
from finetune.data.repos.texts import Text, decode, printable_path
from finetune.data.tally import Tally
from finetune.records import Change, Origin

BATCH = 4096  # changes whose blobs are asked for together
REGULAR = "100"  # the modes of files begin so; 120000 is a symlink, 160000 a submodule
STATUS = {"A": "added", "D": "deleted", "T": "type_changed"}


class Commit(NamedTuple):
    """A commit as the log gives it."""

    oid: str
    message: bytes
    deltas: list[Delta]


class Modified(NamedTuple):
    """One file before and after one commit, by blob id; `path` is its name at that commit, `today` its name now."""

    commit: str
    path: str
    today: str
    message: str
    before: str
    after: str


def read_changes(repository: Repository, tally: Tally, *, limit: int | None, max_bytes: int = MAX_BYTES) -> Iterator[Change]:
    """Commits without merges that change one file and nothing else; of each of the others the reason is counted.

    `tally.read` counts commits, at most `limit` of them, newest first. The message is whole, as it was written.
    The path is the file's name today, renames followed, so that a file and all its changes fall on one side of the split;
    the name it had then is the one path of the commit. The licence is the one stated in the new text, else the nearest
    licence file's at the repository's commit.
    """
    with repository.store() as store:
        scopes = scopes_of(store, list(list_tree(store, repository.commit)))
        modified = _modified(repository, _log(store, repository.commit, limit), tally)
        while batch := list(islice(modified, BATCH)):
            yield from _changes(repository, store, batch, scopes=scopes, tally=tally, max_bytes=max_bytes)


def _log(store: Store, commit: str, limit: int | None) -> Iterator[Commit]:
    count = [] if limit is None else [f"--max-count={limit}"]
    options = ["--raw", "-z", "--no-abbrev", "--no-renames", "--no-merges", "--format=%H%n%B"]
    tokens = store.tokens("log", *options, *count, commit, "--")
    found: Commit | None = None
    for token in tokens:
        line = token.removeprefix(b"\n")
        if line.startswith(b":"):  # a delta; a commit begins with its id
            assert found is not None
            old_mode, new_mode, before, after, status = line[1:].decode().split()
            found.deltas.append(Delta(old_mode, new_mode, before, after, status, printable_path(next(tokens))))
            continue
        if found:
            yield found
        oid, _, message = token.partition(b"\n")
        found = Commit(oid.decode(), message, [])
    if found:
        yield found


def _modified(repository: Repository, commits: Iterator[Commit], tally: Tally) -> Iterator[Modified]:
    names = Names()
    for commit in commits:
        tally.read += 1
        if reason := _fault(commit, repository.shallow):
            names.learn(commit.deltas)
            path = commit.deltas[0].path if len(commit.deltas) == 1 else ""
            tally.drop(Origin(repository.name, commit.oid, path), reason)
        else:
            delta = commit.deltas[0]
            yield Modified(commit.oid, delta.path, names.of(delta.path), commit.message.decode(), delta.before, delta.after)


def _fault(commit: Commit, shallow: frozenset[str]) -> str | None:
    """Why a commit is no change of one file, or None."""
    if commit.oid in shallow:
        return "shallow_boundary"  # its parents are not here, so everything in it looks new
    if len(commit.deltas) != 1:
        return "many_files" if commit.deltas else "no_file"
    delta = commit.deltas[0]
    if delta.status in STATUS:
        return STATUS[delta.status]
    if not delta.new_mode.startswith(REGULAR):
        return "symlink" if delta.old_mode == "120000" else "submodule"
    if delta.before == delta.after:
        return "mode_only"
    return None if _is_utf8(commit.message) else "message_not_utf8"


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _changes(
    repository: Repository, store: Store, batch: list[Modified], *, scopes: Scopes, tally: Tally, max_bytes: int
) -> Iterator[Change]:
    """The batch by path, so that a file's versions come in a row and a blob is held no longer than its next use."""
    batch.sort(key=lambda change: change.path)
    uses = Counter(oid for change in batch for oid in (change.after, change.before))
    texts = Texts(store, uses, max_bytes)
    for change in batch:
        after, before = texts.take(change.after), texts.take(change.before)
        origin = Origin(repository.name, change.commit, change.today, licence_of_text(after.text) or scopes.of(change.today))
        reason = after.reason or before.reason
        language = None if reason else language_of(change.path, after.text)
        if language is None:
            tally.drop(origin, reason or "unknown_language")
        else:
            yield Change(origin, language, change.message, before.text, after.text)


class Texts:
    """Texts by blob id: each blob is read once, in the order of first use, and let go after its last."""

    def __init__(self, store: Store, uses: Counter[str], max_bytes: int) -> None:
        self._blobs = store.blobs(uses, max_bytes=max_bytes)
        self._uses = uses
        self._held: dict[str, Text] = {}

    def take(self, oid: str) -> Text:
        """The text, for one of its uses."""
        while oid not in self._held:
            blob = next(self._blobs)
            self._held[blob.oid] = decode(blob)
        self._uses[oid] -= 1
        return self._held[oid] if self._uses[oid] else self._held.pop(oid)
