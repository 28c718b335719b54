"""Which of a corpus's files stay: neither copies nor near-duplicates of one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from finetune.data.dedup.near import nearest_kept
from finetune.data.dedup.words import Engine
from finetune.records import Origin, SourceFile


class Files(Protocol):
    """Files by number, read when asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> SourceFile: ...


class Rank(NamedTuple):
    """What decides which of two files stays, the lesser one: the longer (bytes), then the first by repository and path."""

    shorter: int
    repo: str
    path: str

    @classmethod
    def of(cls, file: SourceFile) -> Rank:
        """The longer file holds most of what the shorter one says; the names only make the choice the same every time."""
        return cls(-len(_content(file)), file.origin.repo, file.origin.path)


@dataclass(frozen=True, slots=True)
class Copy:
    """A file that goes, and why: `similarity` is Jaccard's, 1 also where only signs differ; `keeper` is the number of what stays."""

    origin: Origin
    keeper: int
    similarity: float
    reason: Literal["copy", "near_copy"]


def find_copies(
    files: Files, ranks: Sequence[Rank], digests: Sequence[bytes], *, threshold: float | None, engine: Engine
) -> dict[int, Copy]:
    """By number, the files that go. `threshold` None: near-duplicates stay.

    The order of the files has no say: ranks have, which differ for any two files of a corpus.
    """
    order = sorted(range(len(files)), key=ranks.__getitem__)
    first: dict[bytes, int] = {}
    exact = {number: keeper for number in order if (keeper := first.setdefault(digests[number], number)) != number}
    singles = [number for number in order if number not in exact]
    copies: dict[int, Copy] = {}
    if threshold is not None:
        near = nearest_kept(len(singles), lambda place: _content(files[singles[place]]), threshold=threshold, engine=engine)
        for place, (keeper, similarity) in enumerate(zip(near.keeper.tolist(), near.similarity.tolist(), strict=True)):
            if keeper >= 0:
                copies[singles[place]] = Copy(files[singles[place]].origin, singles[keeper], similarity, "near_copy")
    for number, twin in exact.items():
        keeper = copies[twin].keeper if twin in copies else twin
        copies[number] = Copy(files[number].origin, keeper, copies[twin].similarity if twin in copies else 1.0, "copy")
    return copies


def _content(file: SourceFile) -> bytes:
    return file.text.encode("utf-8", "surrogatepass")
