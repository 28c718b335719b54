"""Which side of the split a file or a change falls on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from finetune.data.dates import seconds
from finetune.data.repos import Repository
from finetune.data.repos.log import date_of, read_log
from finetune.hashing import stable_hash
from finetune.records import Origin, Side

SIDES = 2**64
By = Literal["path", "repository", "date"]


@dataclass(frozen=True, slots=True)
class Dates:
    """When one repository's commits were committed, and its files of today last touched: seconds since 1970.

    `unread` is the latest date of a commit of which git can not tell what it touched; None: there is no such commit.
    """

    head: str
    commits: Mapping[str, int]
    files: Mapping[str, int]
    unread: int | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """The side of a file, and of a change, by where it comes from alone: another file or repository moves nothing.

    path         a hash of the seed, the repository's name and the path; a file's changes are on its side
    repository   a hash of the seed and the repository's name
    date         valid is what was committed from `start` on: changes by their commit, files by the last commit that touched them,
                 so that nothing on the train side was written later
    """

    by: By
    valid_share: float
    seed: int
    start: int = 0
    dates: Mapping[str, Dates] = field(default_factory=dict)

    def __call__(self, origin: Origin) -> Side:
        match self.by:
            case "path":
                return side(origin, valid_share=self.valid_share, seed=self.seed)
            case "repository":
                return "valid" if stable_hash("side", self.seed, origin.repo) < self.valid_share * SIDES else "train"
            case "date":
                return "valid" if self._date(origin) >= self.start else "train"

    def _date(self, origin: Origin) -> int:
        dates = self.dates[origin.repo]
        commit = dates.commits[origin.commit]
        if origin.commit != dates.head:
            return commit
        # A commit that can not be read may have touched any file: none counts as older than it.
        found = [date for date in (dates.files.get(origin.path), dates.unread) if date is not None]
        return max(found, default=commit)


def side(origin: Origin, *, valid_share: float, seed: int) -> Side:
    """The side of a file and of all its changes, by a hash of the seed, the repository's name and the path.

    Hash, not a draw: the side must not change when a file or a repository is added.
    """
    return "valid" if stable_hash("side", seed, origin.repo, origin.path) < valid_share * SIDES else "train"


def open_split(repositories: Iterable[Repository], *, by: By, date: str | None, valid_share: float, seed: int) -> Split:
    """The split a recipe asks for; only one by date looks at the repositories."""
    if by != "date":
        return Split(by, valid_share, seed)
    assert date is not None, "the recipe asks for one"
    return Split(by, valid_share, seed, seconds(date, end=False), {each.name: read_dates(each) for each in repositories})


def read_dates(repository: Repository) -> Dates:
    """The dates in a repository's history; a file that a shallow clone's first commit holds has that commit's date."""
    commits: dict[str, int] = {}
    files: dict[str, int] = {}
    latest_unread = None
    with repository.store() as store:
        commits[repository.commit] = date_of(store, repository.commit)
        for commit in read_log(store, repository.commit, merges=True):
            commits[commit.oid] = commit.date
            for delta in commit.deltas:
                # Clocks go wrong: the latest date counts, not the first one in git's order.
                files[delta.path] = max(commit.date, files.get(delta.path, commit.date))
            if commit.fault:
                latest_unread = max(commit.date, latest_unread or commit.date)
    return Dates(repository.commit, commits, files, latest_unread)
