"""What of the repositories is wanted: masks over paths, a start of the history, and the wishes of those who opted out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finetune.data.dates import seconds
from finetune.data.masks import Mask, fault_of
from finetune.data.opt_out import AUTHOR, OptOut, read_opt_out
from finetune.data.repos.git import Store
from finetune.data.repos.log import Commit, read_log
from finetune.data.repos.renames import Names, renames
from finetune.errors import DataError

if TYPE_CHECKING:
    from finetune.data.repos.opening import Repository


@dataclass(frozen=True, slots=True)
class Selection:
    """What a recipe asks for. `since` is in seconds since 1970, by the date a commit was committed."""

    include: Mask = Mask()
    exclude: Mask = Mask()
    since: int | None = None
    opt_out: OptOut = field(default_factory=OptOut)

    def against_path(self, repository: Repository, path: str) -> str | None:
        """The reason to leave a path out, by its name alone."""
        if self.include and not self.include.covers(path):
            return "not_included"
        return "excluded" if self.exclude.covers(path) else self.opt_out.against_path(repository.names, path)

    def against_repository(self, repository: Repository) -> str | None:
        """The reason to leave all of a repository out."""
        return self.opt_out.against_repository(repository.names)

    def reaches(self, commit: Commit) -> bool:
        """Whether a commit is young enough to be looked at."""
        return self.since is None or commit.date >= self.since

    def against_commit(self, commit: Commit) -> str | None:
        """The reason to leave a commit out, by who made it."""
        if not self.opt_out.authors:
            return None
        return self.opt_out.against_author(commit.author, commit.email, commit.message.decode(errors="replace"))


EVERYTHING = Selection()


def select(*, include: Iterable[str], exclude: Iterable[str], since: str | None, opt_out: Iterable[str]) -> Selection:
    """The selection a recipe writes down; `opt_out` are paths of lists. Raises DataError when a pattern or a list is wrong."""
    patterns = {"include": tuple(include), "exclude": tuple(exclude)}
    for key, found in patterns.items():
        for pattern in found:
            if fault := fault_of(pattern):
                raise DataError(f"data.{key}: {pattern!r} {fault}")
    start = None if since is None else seconds(since, end=False)
    return Selection(Mask(patterns["include"]), Mask(patterns["exclude"]), start, read_opt_out(opt_out))


@dataclass(frozen=True, slots=True)
class Authored:
    """What those who opted out have written: versions of files by blob id, and files they created by today's path."""

    oids: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()

    def reason(self, path: str, *oids: str) -> str | None:
        """The reason to leave out a file, or a change from one version of it to another."""
        return AUTHOR if path in self.paths or not self.oids.isdisjoint(oids) else None


def authored(repository: Repository, store: Store, selection: Selection) -> Authored:
    """Looks through the whole history where somebody opted out as an author, and at nothing where nobody did."""
    if not selection.opt_out.authors:
        return Authored()
    names, oids = Names(), set[str]()
    created: dict[str, bool] = {}  # the newest commit that creates a path made the file that is there today
    for commit in read_log(store, repository.commit):
        if commit.oid in repository.shallow:
            continue  # everything in it looks new
        theirs = selection.against_commit(commit) is not None
        moved = {new for _, new in renames(commit.deltas)}
        had = {delta.before for delta in commit.deltas}
        for delta in commit.deltas:
            if delta.status == "A" and delta.path not in moved:
                created.setdefault(names.of(delta.path), theirs)
            if theirs and delta.status != "D" and delta.after not in had:
                oids.add(delta.after)
        names.learn(commit.deltas)
    return Authored(frozenset(oids), frozenset(path for path, theirs in created.items() if theirs))
