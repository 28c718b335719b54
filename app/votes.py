"""Blind votes, kept beside the runs they are about: one line a vote, one vote a record."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from app.record import Record, prompt_fields
from finetune.errors import EvaluateError
from finetune.records import Estimate
from finetune.run import Run
from finetune.statistics import share_of

FILE = "votes.jsonl"
TIE, NEITHER = "tie", "neither"


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote: the two arms, and the better one, "tie" or "neither"."""

    id: str
    arms: tuple[str, str]
    choice: str


@dataclass(frozen=True, slots=True)
class Tally:
    """The votes on two arms. `rate`: the share of `second` among the decided ones, None where none is."""

    first: str
    second: str
    first_better: int
    second_better: int
    ties: int
    neither: int

    @property
    def rate(self) -> Estimate | None:
        decided = self.first_better + self.second_better
        return share_of(self.second_better, decided) if decided else None


class Ballots:
    """The votes of one or more runs. `folders` and `adapters` (which training an adapter is of) are by arm, the base in none.

    Processes and threads may share the files: they take turns, and a record counts once whoever voted first.
    """

    def __init__(self, folders: Mapping[str, Path], adapters: Mapping[str, str]) -> None:
        self._paths = {arm: folder / FILE for arm, folder in folders.items()}
        self._adapters = adapters
        self.places: Sequence[str] = [str(path) for path in dict.fromkeys(self._paths.values())]

    def cast(self, record: Record) -> bool:
        """Keeps the vote on a record; False when there is one already, which stays."""
        with _locked(self._path(record)) as file:
            if record.id in {line["id"] for line in _lines(file, self._path(record))}:
                return False
            line = json.dumps(self._line(record), ensure_ascii=False) + "\n"
            file.seek(0, os.SEEK_END)
            file.write(line.encode("utf-8", "surrogatepass"))
            file.flush()
            os.fsync(file.fileno())
            return True

    def votes(self) -> tuple[list[Vote], int]:
        """The votes on the adapters as they are now, and how many there are on earlier trainings of them."""
        found: dict[str, Vote] = {}
        stale: set[str] = set()
        for path in dict.fromkeys(self._paths.values()):
            if not path.exists():
                continue
            with _locked(path) as file:
                for line in _lines(file, path):
                    if any(self._adapters.get(arm) not in (None, of) for arm, of in line["adapters"].items()):
                        stale.add(line["id"])
                    else:
                        found.setdefault(line["id"], Vote(line["id"], (line["arms"][0], line["arms"][1]), line["choice"]))
        return [*found.values()], len(stale)

    def _path(self, record: Record) -> Path:
        """The file of the last of the two that is an adapter: two orders of one pair share a file."""
        arms = [arm for arm in self._paths if arm in {answer.arm for answer in record.answers}]
        return self._paths[arms[-1]]

    def _line(self, record: Record) -> Mapping[str, object]:
        arms = [answer.arm for answer in record.answers]
        return {
            "id": record.id,
            "at": record.at,
            "arms": arms,
            "choice": record.choice,
            "name": record.question.name,
            "prompt": prompt_fields(record.question.prompt),
            "answers": {answer.arm: answer.text for answer in record.answers},
            "sampling": asdict(record.sampling),
            "adapters": {arm: self._adapters[arm] for arm in arms if arm in self._adapters},
        }


def ballots_of(runs: Sequence[Run]) -> Ballots:
    """The ballots of these runs."""
    names = {run.recipe.name: run for run in runs}
    return Ballots(
        {name: run.folder for name, run in names.items()}, {name: run.mark("train").get("result", "") for name, run in names.items()}
    )


def tallies(votes: Sequence[Vote], arms: Sequence[str]) -> list[Tally]:
    """The votes of each pair of arms that has some, in the order of `arms`."""
    found = []
    for first, second in combinations(arms, 2):
        choices = [vote.choice for vote in votes if {*vote.arms} == {first, second}]
        if choices:
            found.append(Tally(first, second, *(choices.count(choice) for choice in (first, second, TIE, NEITHER))))
    return found


@contextmanager
def _locked(path: Path) -> Iterator[Any]:
    """The file, made when it is not there, for this process and thread alone."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _lines(file: Any, path: Path) -> list[dict[str, Any]]:
    """Every whole line. What a killed process left of one is cut off. Raises EvaluateError for a line that is no vote."""
    file.seek(0)
    content: bytes = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(whole)
    found = []
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            vote = json.loads(line.decode("utf-8", "surrogatepass"))
            vote["id"], vote["choice"], vote["adapters"], vote["arms"][1]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise EvaluateError(f"{path}:{number}: no vote ({error}); take the line out, or move the file away") from error
        found.append(vote)
    return found
