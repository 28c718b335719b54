"""The changes in a repository's history that touch one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from finetune.data.headers import licence_of_text
from finetune.data.languages import is_program, language_of, language_said
from finetune.data.licences import Scopes
from finetune.data.names import is_test
from finetune.data.notebooks import NOTEBOOK, as_script
from finetune.data.repos.aside import Aside, keeping
from finetune.data.repos.attributes import NOTHING, Attributes
from finetune.data.repos.batches import Modified, in_batches
from finetune.data.repos.files import MAX_BYTES, scopes_of
from finetune.data.repos.git import Store
from finetune.data.repos.log import Commit, read_log
from finetune.data.repos.opening import Repository
from finetune.data.repos.renames import Delta, Names
from finetune.data.repos.selection import EVERYTHING, Authored, Selection, authored
from finetune.data.repos.trees import list_tree
from finetune.data.repos.versions import Versions
from finetune.data.tally import Tally
from finetune.records import Change, Origin

BATCH = 65_536  # changes whose blobs are asked for together
REGULAR = "100"  # the modes of files begin so; 120000 is a symlink, 160000 a submodule
STATUS = {"A": "added", "D": "deleted", "T": "type_changed"}


def read_changes(
    repository: Repository,
    tally: Tally,
    *,
    limit: int | None,
    selection: Selection = EVERYTHING,
    programs: int = 0,
    kept: Aside | None = None,
) -> Iterator[Change]:
    """Commits without merges that change one file and nothing else; of each of the others the reason is counted.

    `programs` more than 0 takes commits of several files as well, of which at most so many are program files: each of those is a change.
    The tests, the prose and the data beside them are not looked at.

    `tally.read` counts commits, at most `limit` of them, newest first; one of several program files counts once for each.
    The message is whole, as it was written.
    The path is the file's name today, renames followed, so that a file and all its changes fall on one side of the split;
    the name it had then is the one path of the commit. The licence is the one stated in the new text, else the nearest
    licence file's at the repository's commit; what .gitattributes says is taken from there too.
    Each distinct blob is read once, and not at all where `read_files` has `kept` it.
    """
    with repository.store() as store, keeping(store, kept) as (holding, aside):
        commits = read_log(store, repository.commit, limit=limit, since=selection.since)
        if reason := selection.against_repository(repository):
            for commit in filter(selection.reaches, commits):
                tally.read += 1
                tally.drop(Origin(repository.name, commit.oid, _only_path(commit)), reason)
            return
        entries = list_tree(store, repository.commit)
        reader = _Reader(repository, holding, scopes_of(holding, entries), Attributes(store, entries))
        chosen = _Chosen(repository, selection, authored(repository, store, selection), programs)
        modified = _modified(commits, chosen, tally)
        for batch in in_batches(modified, BATCH, aside.folder / "batches"):
            aside.take(batch.again)
            yield from reader.changes(batch.changes, tally)


class _Chosen(NamedTuple):
    """What decides about a commit beside itself."""

    repository: Repository
    selection: Selection
    theirs: Authored
    programs: int

    def fault(self, commit: Commit) -> str | None:
        """Why nothing of the commit is wanted, or None."""
        if commit.fault or commit.oid in self.repository.shallow:
            return commit.fault or "shallow_boundary"  # its parents are not here, so everything in it looks new
        if not commit.deltas:
            return "no_file"
        if len(commit.deltas) > 1 and not 0 < len(programs_of(commit.deltas)) <= self.programs:
            return "many_files"
        return None

    def against(self, commit: Commit, today: str, delta: Delta) -> str | None:
        """Why the change of a file is not wanted, or None."""
        selection = self.selection
        reason = selection.against_commit(commit) or selection.against_path(self.repository, today)
        return reason or self.theirs.reason(today, delta.before, delta.after)


def _modified(commits: Iterator[Commit], chosen: _Chosen, tally: Tally) -> Iterator[Modified]:
    names = Names()
    for commit in commits:
        if not chosen.selection.reaches(commit):
            names.learn(commit.deltas)
            continue
        reason = chosen.fault(commit)
        alone = len(commit.deltas) == 1
        deltas = [] if reason else commit.deltas if alone else programs_of(commit.deltas)
        tally.read += max(1, len(deltas))
        found = []
        for delta in deltas:
            today = names.of(delta.path)
            if fault := _fault(delta, commit) or chosen.against(commit, today, delta):
                tally.drop(Origin(chosen.repository.name, commit.oid, delta.path), fault)
                continue
            message = commit.message.decode()
            found.append(Modified(commit.oid, delta.path, today, message, delta.before, delta.after, 0 if alone else len(deltas)))
        names.learn(commit.deltas)
        if reason:
            tally.drop(Origin(chosen.repository.name, commit.oid, _only_path(commit)), reason)
        yield from found


def programs_of(deltas: Sequence[Delta]) -> list[Delta]:
    """Those of program files that are no tests, told by their names."""
    return [delta for delta in deltas if is_program(delta.path) and not is_test(delta.path)]


def _only_path(commit: Commit) -> str:
    return commit.deltas[0].path if len(commit.deltas) == 1 else ""


def _fault(delta: Delta, commit: Commit) -> str | None:
    """Why this is no change of a file's text, or None."""
    if delta.status in STATUS:
        return STATUS[delta.status]
    if delta.before == delta.after:
        return "mode_only"
    if not delta.new_mode.startswith(REGULAR):
        return "symlink" if delta.old_mode == "120000" else "submodule"
    return None if _is_utf8(commit.message) else "message_not_utf8"


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Reader:
    """From blob ids to changes of text."""

    repository: Repository
    store: Store
    scopes: Scopes
    attributes: Attributes

    def changes(self, batch: list[Modified], tally: Tally) -> Iterator[Change]:
        """The batch by path, so that a file's versions come in a row and a blob is held no longer than its next use."""
        batch.sort(key=lambda change: change.path)
        uses = Counter(oid for change in batch for oid in (change.after, change.before))
        texts = Versions(self.store, uses, MAX_BYTES)
        marks = self.attributes.of(dict.fromkeys(change.today.encode() for change in batch))
        for change in batch:
            after, before = texts.take(change.after), texts.take(change.before)
            said = marks.get(change.today.encode(), NOTHING)
            licence = self.scopes.of_versions(change.today, map(licence_of_text, (before.text, after.text)))  # both are learnt from
            place = (self.repository.name, change.commit, change.today)
            origin = Origin(*place, licence, said.generated, said.vendored, self.scopes.own)
            reason = after.reason or before.reason
            language = None if reason else language_said(said.language) or language_of(change.path, after.text)
            if language == NOTEBOOK:
                after, before = as_script(after.text, language), as_script(before.text, language)
                reason = after.reason or before.reason
            if reason or language is None:
                tally.drop(origin, reason or "unknown_language")
            else:
                yield Change(origin, language, change.message, before.text, after.text, change.programs)
