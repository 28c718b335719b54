"""What a file of old is called today."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Delta(NamedTuple):
    """One path of a commit: modes, blob ids and git's status letter."""

    old_mode: str
    new_mode: str
    before: str
    after: str
    status: str
    path: str


class Names:
    """Today's names of paths, learnt from the renames of a history that is walked newest first."""

    def __init__(self) -> None:
        self._today: dict[str, str] = {}

    def of(self, path: str) -> str:
        """What the file at this path is called at the newest commit."""
        return self._today.get(path, path)

    def learn(self, deltas: Sequence[Delta]) -> None:
        """Takes in the renames of one commit; call it before asking for the paths of older ones."""
        for old, new in renames(deltas):
            self._today[old] = self.of(new)


def renames(deltas: Sequence[Delta]) -> Iterable[tuple[str, str]]:
    """The pairs (old path, new path) of files a commit has moved: one gone and one new, with one content or one name.

    Two that are alike in both are paired first, then in content, then in name where that leaves one choice.
    """
    gone = {delta.path: delta for delta in deltas if delta.status == "D"}
    new = {delta.path: delta for delta in deltas if delta.status == "A"}
    for by_name, by_content in ((True, True), (False, True), (True, False)):
        choices: dict[tuple[str, str], list[str]] = defaultdict(list)
        for delta in new.values():
            choices[_key(delta, by_name, by_content)].append(delta.path)
        for delta in list(gone.values()):
            found = choices[_key(delta, by_name, by_content)]
            if len(found) == 1:
                yield delta.path, found[0]
                del gone[delta.path], new[found.pop()]


def _key(delta: Delta, by_name: bool, by_content: bool) -> tuple[str, str]:
    content = delta.before if delta.status == "D" else delta.after
    return delta.path.rpartition("/")[2] if by_name else "", content if by_content else ""
