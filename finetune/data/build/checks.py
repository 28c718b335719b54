"""What must hold before and after, each fault with its cure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from finetune.data.build.tools import SIDES
from finetune.data.languages import unknown_languages
from finetune.data.split import Split
from finetune.data.tally import Tally
from finetune.errors import DataError
from finetune.recipe import Recipe
from finetune.records import Origin, Side


def check_languages(languages: Iterable[str]) -> None:
    """Raises DataError at the first that linguist does not know."""
    for fault in unknown_languages(languages):
        raise DataError(fault)


def require_heldout(recipe: Recipe, books: Tally, origins: Iterable[Origin], files: int) -> None:
    """Raises DataError: there is no file, or none to measure on. `origins` are those of the `files` that would be kept."""
    data = recipe.data
    if not files:
        cure = "write data.repositories=[PATH] of a repository with source code, or loosen data.languages and data.filters"
        if books.dropped["missing"] and books.dropped["missing"] == max(books.dropped.values()):
            cure = "a clone without contents: type git fetch --refetch --no-filter in its folder"
        raise DataError(
            f"{', '.join(data.repositories)}: not a single usable file among {books.read} paths ({_reasons(books.dropped)}); {cure}"
        )
    if data.split.by == "date":
        found = f"data.split.date: since {data.split.date} none of {files} files was touched, so nothing could be measured"
        raise DataError(f"{found}; write an earlier date, or data.split.by=path")
    unit = "files" if data.split.by == "path" else "files, whole repositories each"
    found = f"data.valid_share: {data.valid_share} holds out none of {files} {unit}, so nothing could be measured"
    raise DataError(f"{found}; {_share_that_splits(recipe, [*origins])}")


def _share_that_splits(recipe: Recipe, origins: Sequence[Origin]) -> str:
    by = recipe.data.split.by
    for share in (0.05, *(tenths / 10 for tenths in range(1, 10))):
        split = Split(by, share, recipe.seed)
        if {split(origin) for origin in origins} == {*SIDES}:
            return f"write data.valid_share={share}"
    repositories = "data.repositories=[PATH] of repositories with more files"
    return f"write {repositories}" if by == "path" else "write data.split.by=path, or more of data.repositories"


def require_samples(samples: Mapping[Side, int], dropped: Counter[str]) -> None:
    """Raises DataError when a side has nothing."""
    cures: dict[Side, str] = {"train": "smaller", "valid": "larger"}
    for name, cure in cures.items():
        if not samples[name]:
            raise DataError(
                f"nothing is left to {'train on' if name == 'train' else 'validate on'} ({_reasons(dropped)}); "
                f"write a {cure} data.valid_share, add fim to data.miners, or add repositories"
            )


def _reasons(dropped: Counter[str]) -> str:
    found = ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items(), key=lambda each: (-each[1], each[0]))[:5])
    return f"dropped: {found}" if found else "nothing was dropped"
