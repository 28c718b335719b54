"""What must hold before and after, each fault with its cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from finetune.data.build.harvest import SIDES, Harvest, Tools
from finetune.data.languages import table as linguist
from finetune.errors import DataError
from finetune.records import Side


def check_languages(languages: Iterable[str]) -> None:
    """Raises DataError at the first that linguist does not know."""
    known = linguist().types
    for language in languages:
        if language not in known:
            near = difflib.get_close_matches(language, known, n=1) or [name for name in known if name.lower() == language.lower()]
            hint = f"did you mean {near[0]}?" if near else "write linguist's name, for example Python, TypeScript or C++"
            raise DataError(f"data.languages: found {language!r}; {hint}")


def require_heldout(tools: Tools, harvest: Harvest) -> None:
    """Raises DataError when there is no file, or none to measure on."""
    data, files = tools.recipe.data, len(harvest.kept)
    if not files:
        raise DataError(
            f"{', '.join(data.repositories)}: not a single usable file among {harvest.files.read} paths ({_reasons(harvest)}); "
            "write data.repositories=[PATH] of a repository with source code, or loosen data.languages and data.filters"
        )
    if not harvest.heldout:
        if data.split.by == "date":
            found = f"data.split.date: since {data.split.date} none of {files} files was touched, so nothing could be measured"
            raise DataError(f"{found}; write an earlier date, or data.split.by=path")
        unit = "files" if data.split.by == "path" else "files, whole repositories each"
        found = f"data.valid_share: {data.valid_share} holds out none of {files} {unit}, so nothing could be measured"
        raise DataError(f"{found}; {_share_that_splits(tools, harvest)}")


def _share_that_splits(tools: Tools, harvest: Harvest) -> str:
    for share in (0.05, *(tenths / 10 for tenths in range(1, 10))):
        split = replace(tools.split, valid_share=share)
        if {split(origin) for origin in harvest.kept} == {*SIDES}:
            return f"write data.valid_share={share}"
    repositories = "data.repositories=[PATH] of repositories with more files"
    return f"write {repositories}" if tools.split.by == "path" else "write data.split.by=path, or more of data.repositories"


def require_samples(harvest: Harvest) -> None:
    """Raises DataError when a side has nothing."""
    cures: dict[Side, str] = {"train": "smaller", "valid": "larger"}
    for name, cure in cures.items():
        if not harvest.samples[name]:
            raise DataError(
                f"nothing is left to {'train on' if name == 'train' else 'validate on'} ({_reasons(harvest)}); "
                f"write a {cure} data.valid_share, add fim to data.miners, or add repositories"
            )


def _reasons(harvest: Harvest) -> str:
    dropped = (harvest.files + harvest.changes).dropped.most_common(5)
    return "dropped: " + ", ".join(f"{reason} {count}" for reason, count in dropped) if dropped else "nothing was dropped"
