"""Files of a repository side by side in one sample, so that a model learns to use what other files define.

Files are cut into windows first: one that fits into a row stays whole, and no middle is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt

from finetune.data.imports import imported_first
from finetune.data.miners import MINERS, Bench, Joined
from finetune.data.miners.fim import SENTINELS, SMALLEST_ROOM, SPLIT_COST, require_fim
from finetune.data.miners.holes import HoleMiner, Share, Window
from finetune.data.miners.windows import counted_windows, halves
from finetune.errors import DataError
from finetune.families import RepositoryFormat
from finetune.hashing import generator, stable_hash
from finetune.records import ContextSample, FimSample, Item, Sample, Side, SourceFile

_FILE_SENTINELS = 3  # before the repository's name, the path and the stars
_STARS = ((0, "0"), (10, "1-10"), (100, "10-100"), (1000, "100-1000"))


class _Planned(NamedTuple):
    """A window, and the tokens it takes with its path and all sentinels."""

    window: Window
    tokens: int


@MINERS.register("repository")
class Repository(HoleMiner):
    """Files of one repository in one sample, in the format of the model's family, with StarCoder 2's rates (arXiv 2402.19173, section 5.1).

    What the paper draws for a repository is drawn here for a sample: a repository of one's own makes many, and one draw would decide
    for all. Held-out files stand beside held-out files alone. StarCoder 1 knows no files side by side: it gets its metadata before
    one file.
    """

    joins: ClassVar[bool] = True
    names: ClassVar[bool] = True

    name_rate: Share = Field(0.5, description="share of samples with the repository's name and the files' paths; Qwen's have them always")
    fim_rate: Share = Field(0.5, description="share of samples that may have holes")
    file_fim_rate: Share = Field(0.5, description="share of files with a hole, in a sample that may have them")
    spm_rate: Share = Field(0.5, description="share of holes written suffix first, by a family that knows both orders")
    order: Literal["imports", "random"] = Field("imports", description="imports: behind what they import; random: as StarCoder 2's were")
    metadata_rate: Share = Field(
        0.2, description="share of StarCoder 1's samples with the repository's name, and as many with the path, stars"
    )
    stars: NonNegativeInt | None = Field(None, description="the repositories' stars on GitHub, for StarCoder 1; empty: never written")

    def join(self, items: Sequence[Item], bench: Bench) -> Joined:
        """Samples of files of one side each, and why a file is in none."""
        assert bench.side is not None, "who joins files says which of them are held out"
        form = self._form(bench)
        files = [item for item in items if isinstance(item, SourceFile)]
        reasons = {file.origin: reason for file in files if (reason := _reason(file, bench)) is not None}
        sides: dict[Side, list[SourceFile]] = {"train": [], "valid": []}
        for file in files:
            if file.origin not in reasons:
                sides[bench.side(file.origin)].append(file)
        return Joined([sample for side in sides.values() for sample in self._samples(self._ordered(side, bench), form, bench)], reasons)

    def smaller(self, sample: Sample, bench: Bench) -> Sequence[Sample]:
        """All but the last file, and the last; of one file, its two halves."""
        assert isinstance(sample, ContextSample)
        *first, last = sample.parts
        if first:
            return [_named(replace(sample, parts=parts), bench) for parts in ((*first,), (last,))]
        form = self._form(bench)
        return [self._sample([window], form, bench) for window in halves(last.origin, last.text)]

    def _form(self, bench: Bench) -> RepositoryFormat:
        family = bench.encoder.family
        if family.repository is None:
            raise DataError(
                f"data.miners: found repository, but family {family.name} has no format for files side by side; "
                "write data.miners=[fim, commits], or choose a base model of starcoder2 or qwen2.5-coder"
            )
        if self.fim_rate * self.file_fim_rate > 0:
            require_fim(bench, f"repository has fim_rate {self.fim_rate}", "{kind: repository, fim_rate: 0}")
        return family.repository

    def _ordered(self, files: Sequence[SourceFile], bench: Bench) -> list[SourceFile]:
        if self.order == "imports":
            return imported_first(files)
        return sorted(files, key=lambda file: (stable_hash(bench.seed, "repository", file.origin.repo, file.origin.path), file.origin.path))

    def _samples(self, files: Iterable[SourceFile], form: RepositoryFormat, bench: Bench) -> Iterator[ContextSample]:
        for windows in _filled(_planned(files, bench), form, bench):
            yield self._sample(windows, form, bench)

    def _sample(self, windows: Sequence[Window], form: RepositoryFormat, bench: Bench) -> ContextSample:
        first = windows[0]
        draws = generator(bench.seed, first.origin.repo, first.origin.commit, first.origin.path, "repository", first.begin, first.text)
        stars: str | None = None
        if form.several:
            named = path = draws.random() < self.name_rate or form.always_named
        else:
            named, path, starred = (draws.random() < self.metadata_rate for _ in range(3))
            stars = _bucket(self.stars) if starred and self.stars is not None else None
        may = draws.random() < self.fim_rate
        parts = [self._beside(window, bench, holes=may) for window in windows]
        if form.holes == "last":
            parts = [*map(_plain, parts[:-1]), parts[-1]]
        return _named(ContextSample(tuple(parts), named, path, stars), bench)

    def _beside(self, window: Window, bench: Bench, *, holes: bool) -> FimSample:
        """Drawn for the window alone: a neighbour more or less changes no hole."""
        origin = window.origin
        draws = generator(bench.seed, origin.repo, origin.commit, origin.path, "repository hole", window.begin, window.text)
        if not holes or draws.random() >= self.file_fim_rate:
            return FimSample(origin, "", window.text, "", "plain")
        return self.cut_out(window, "spm" if draws.random() < self.spm_rate else "psm", draws)


def _named(sample: ContextSample, bench: Bench) -> ContextSample:
    """The sample with its names as they may be written."""
    names = (sample.origin.repo, *(part.origin.path for part in sample.parts))
    return replace(sample, redacted=tuple(map(bench.written, names)))


def _reason(file: SourceFile, bench: Bench) -> str | None:
    """Why a file can not be in a sample."""
    if not file.text:
        return "empty"
    return None if bench.row_length - _cost(file, bench) >= SMALLEST_ROOM else "path_longer_than_a_row"


def _cost(file: SourceFile, bench: Bench) -> int:
    """Tokens beside a file's own. The repository's name stands once in a sample and is counted for each file: room to spare."""
    names = (f"{bench.written(file.origin.path)}\n", f"{bench.written(file.origin.repo)}\n")
    return sum(len(bench.encoder.text(name)) for name in names) + SENTINELS + SPLIT_COST + _FILE_SENTINELS


def _planned(files: Iterable[SourceFile], bench: Bench) -> Iterator[_Planned]:
    for file in files:
        cost = _cost(file, bench)
        for window, tokens in counted_windows(file, bench.encoder, room=bench.row_length - cost):
            yield _Planned(window, cost + tokens)


def _filled(planned: Iterable[_Planned], form: RepositoryFormat, bench: Bench) -> Iterator[list[Window]]:
    """Windows side by side as long as they fit into a row."""
    windows: list[Window] = []
    used = 0
    for window, tokens in planned:
        if windows and (used + tokens > bench.row_length or not form.several):
            yield windows
            windows, used = [], 0
        windows.append(window)
        used += tokens
    if windows:
        yield windows


def _plain(part: FimSample) -> FimSample:
    return FimSample(part.origin, "", part.text, "", "plain")


def _bucket(stars: int) -> str:
    """A number of stars as StarCoder 1 reads it; the upper end belongs to the bucket below."""
    return next((name for most, name in _STARS if stars <= most), "1000+")
