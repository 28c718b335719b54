"""The files of a build: once each, on one side each.

read, clean -> put aside on disk -> copies and near-duplicates go -> sides -> what is like a held-out file goes -> kept
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from finetune.data.build.harvest import Harvest, Tools, cleaned, told
from finetune.data.dedup import Boundary, Copy, Rank, digest, engine_for, find_copies
from finetune.data.repos import Repository, read_files
from finetune.data.spool import Spool
from finetune.records import SourceFile


def gather_files(
    repositories: Iterable[Repository], tools: Tools, harvest: Harvest, spool: Spool[SourceFile]
) -> tuple[list[int], Boundary]:
    """The numbers in the spool of the files that stay, in the order they were read, and the boundary to those held out."""
    found = chain.from_iterable(read_files(repository, harvest.files, selection=tools.selection) for repository in repositories)
    ranks: list[Rank] = []
    digests: list[bytes] = []
    for file in cleaned(_noted(found, harvest), tools, harvest.files):
        assert isinstance(file, SourceFile)
        spool.append(file)
        ranks.append(Rank.of(file))
        digests.append(digest(file))
    near = tools.recipe.data.near_duplicates
    engine = engine_for(-sum(rank.shorter for rank in ranks))
    copies = find_copies(spool, ranks, digests, threshold=near.threshold if near.enabled else None, engine=engine)
    _leave_out(copies, spool, tools, harvest)
    unique = [number for number in range(len(spool)) if number not in copies]
    sides = {number: tools.split(spool[number].origin) for number in unique}
    harvest.heldout = [spool[number] for number in unique if sides[number] == "valid"]
    boundary = Boundary((file.text for file in harvest.heldout), threshold=near.threshold)
    kept = [number for number in unique if sides[number] == "valid" or _is_apart(spool[number], boundary, harvest)]
    _count(kept, spool, harvest)
    return kept, boundary


def _noted(files: Iterable[SourceFile], harvest: Harvest) -> Iterator[SourceFile]:
    for file in files:
        harvest.paths.add((file.origin.repo, file.origin.path))
        yield file


def _leave_out(copies: dict[int, Copy], spool: Spool[SourceFile], tools: Tools, harvest: Harvest) -> None:
    """The copies with their reason, and the groups they form for clusters.jsonl."""
    groups: defaultdict[int, list[Copy]] = defaultdict(list)
    for _, copy in sorted(copies.items()):
        groups[copy.keeper].append(copy)
    for keeper, members in sorted(groups.items()):
        origin = spool[keeper].origin
        for copy in members:
            harvest.files.drop(copy.origin, copy.reason, told(origin, copy.similarity))
            if tools.split(origin) == "valid":
                harvest.shadows.add((copy.origin.repo, copy.origin.path))
        left_out = [
            {"repo": each.origin.repo, "path": each.origin.path, "similarity": round(each.similarity, 4), "reason": each.reason}
            for each in sorted(members, key=lambda each: (each.origin.repo, each.origin.path))
        ]
        harvest.clusters.append({"keeper": {"repo": origin.repo, "path": origin.path}, "left_out": left_out})


def _is_apart(file: SourceFile, boundary: Boundary, harvest: Harvest) -> bool:
    """Whether no held-out file is like this one; sketches miss few pairs, this none."""
    match = boundary.nearest(file.text)
    if match is None:
        return True
    harvest.files.drop(file.origin, "near_held_out", told(harvest.heldout[match.number].origin, match.similarity))
    harvest.shadows.add((file.origin.repo, file.origin.path))
    return False


def _count(kept: Sequence[int], spool: Spool[SourceFile], harvest: Harvest) -> None:
    for number in kept:
        harvest.kept.append(spool[number].origin)
