"""The files of a repository at its commit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from finetune.data.headers import licence_of_text
from finetune.data.languages import language_of, language_said
from finetune.data.licences import Scopes, is_licence_file, is_named_for_a_licence, is_notice_file, read_scopes
from finetune.data.notebooks import as_script
from finetune.data.repos.aside import Aside, keeping
from finetune.data.repos.attributes import NOTHING, Attributes, Marks
from finetune.data.repos.git import Blob, Store
from finetune.data.repos.opening import Repository
from finetune.data.repos.selection import EVERYTHING, Authored, Selection, authored
from finetune.data.repos.trees import MISSING_TREE, Entry, list_tree
from finetune.data.tally import Tally
from finetune.data.texts import decode
from finetune.records import Origin, SourceFile

MAX_BYTES = 10_000_000  # a larger file is never read; the filter too_large asks for far less


def read_files(
    repository: Repository,
    tally: Tally,
    *,
    selection: Selection = EVERYTHING,
    max_bytes: int = MAX_BYTES,
    kept: Aside | None = None,
) -> Iterator[SourceFile]:
    """Every wanted file that is text in a known language; each of the others is counted with its reason.

    Each distinct blob is read once: the paths that share it come together, in the order of their first. What is read is put into `kept`,
    for `read_changes`; without it the licences' files alone, which are files too.
    """
    with repository.store() as store:
        entries = list_tree(store, repository.commit)
        tally.read += len(entries)
        if reason := selection.against_repository(repository):
            for entry in entries:
                tally.drop(Origin(repository.name, repository.commit, entry.path), reason, size=entry.size)
            return
        wanted: dict[str, list[Entry]] = defaultdict(list)
        check = _Check(repository, selection, authored(repository, store, selection), max_bytes)
        for entry in entries:
            if reason := check.fault(entry):
                tally.drop(Origin(repository.name, repository.commit, entry.path), reason, size=entry.size)
            else:
                wanted[entry.oid].append(entry)
        marks = Attributes(store, entries).of(entry.raw for alike in wanted.values() for entry in alike)
        with keeping(store, kept) as (holding, aside):
            reader = _Reader(repository, scopes_of(holding, entries), marks)
            if kept is None:
                aside.take(())
            for blob in holding.blobs(wanted, max_bytes=max_bytes):
                yield from reader.files(blob, wanted[blob.oid], tally)


def scopes_of(store: Store, entries: Iterable[Entry]) -> Scopes:
    """The licence of each folder that holds a licence file, or a NOTICE."""
    named = (entry for entry in entries if is_named_for_a_licence(entry.path) or is_licence_file(entry.path) or is_notice_file(entry.path))
    found = [entry for entry in named if entry.mode.startswith("100")]
    oids = dict.fromkeys(entry.oid for entry in found)
    contents = {blob.oid: blob.content for blob in store.blobs(oids, max_bytes=MAX_BYTES, whole=True) if blob.reason is None}
    return read_scopes((entry.path, contents[entry.oid]) for entry in found if entry.oid in contents)


@dataclass(frozen=True, slots=True)
class _Check:
    """Reasons against a path that need none of its content."""

    repository: Repository
    selection: Selection
    authored: Authored
    max_bytes: int

    def fault(self, entry: Entry) -> str | None:
        match entry:
            case Entry(kind="commit"):
                return "submodule"
            case Entry(kind="missing_tree"):
                return MISSING_TREE
            case Entry(mode="120000"):
                return "symlink"
        unwanted = self.selection.against_path(self.repository, entry.path) or self.authored.reason(entry.path, entry.oid)
        return unwanted or self._fault_of_size(entry.size)

    def _fault_of_size(self, size: int | None) -> str | None:
        if size == 0:
            return "empty"
        return "too_large" if size is not None and size > self.max_bytes else None


@dataclass(frozen=True, slots=True)
class _Reader:
    """From a blob to the files that hold it."""

    repository: Repository
    scopes: Scopes
    marks: dict[bytes, Marks]

    def files(self, blob: Blob, entries: Iterable[Entry], tally: Tally) -> Iterator[SourceFile]:
        found, reason = decode(blob)
        stated = licence_of_text(found)
        for entry in entries:
            marks = self.marks.get(entry.raw, NOTHING)
            licence = self.scopes.of_file(entry.path, stated)
            place = (self.repository.name, self.repository.commit, entry.path)
            origin = Origin(*place, licence, marks.generated, marks.vendored, self.scopes.own)
            language = None if reason else language_said(marks.language) or language_of(entry.path, found)
            text, fault = as_script(found, language) if language else ("", "unknown_language")
            if reason or fault or language is None:
                tally.drop(origin, reason or fault or "unknown_language", size=entry.size)
            else:
                yield SourceFile(origin, language, text)
