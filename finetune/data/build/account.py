"""What became of everything that was read, shard by shard, once the sides are proved apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetune.data.build.clean import SPLIT
from finetune.data.build.job import Job, Shard, load
from finetune.data.build.proof import Proof, withdrawn_of
from finetune.data.build.samples import sizes_of
from finetune.data.build.settle import Account, account_of, places_of
from finetune.data.build.teach import Source, samples_of, tried_of
from finetune.data.mine import Fit, Tried
from finetune.data.split import Split
from finetune.data.spool import Spool
from finetune.data.tables import Row
from finetune.data.tally import Decision, Tally
from finetune.records import Origin, Side

_KINDS: dict[Source, Literal["file", "commit"]] = {"files": "file", "history": "commit"}


class Ledger(NamedTuple):
    """The account of a shard's files, or of its changes, as it is in the end; `places` are those of its samples, `sizes` theirs."""

    account: Account
    places: NDArray[np.void]
    sizes: NDArray[np.void]


def ledger(job: Job, shard: Shard, source: Source, proof: Proof) -> Ledger | None:
    """The ledger of a shard, without the samples that the proof withdraws; None where nothing was read."""
    settled, tried = job.place("settle"), job.place("teach", shard)
    if not (settled / account_of(source, shard)).exists():
        return None
    places = np.load(settled / places_of(source, shard))
    found = Ledger(load(settled / account_of(source, shard)), places, np.load(sizes_of(tried / samples_of(source))))
    if source == "history" and (withdrawn := withdrawn_of(job, shard, proof.withdrawn)):
        with closing(Spool[Tried](tried / tried_of(source))) as log:
            _withdraw(found, withdrawn, log)
    return found


def _withdraw(found: Ledger, withdrawn: dict[Origin, str], log: Spool[Tried]) -> None:
    account = found.account
    for origin, why in withdrawn.items():
        account.books.tally.take_back(origin, "near_train", why)
        del account.made[origin]
    for place, (origin, fit) in enumerate(_fits(log)):
        if origin in withdrawn and found.places["stays"][place]:
            found.places["stays"][place] = False
            account.miners[fit.miner, True] -= 1
            if tally := account.books.gate.tallies.get(fit.miner):
                tally.take_back(origin, "near_train", withdrawn[origin])


def _fits(log: Spool[Tried]) -> Iterator[tuple[Origin, Fit]]:
    for tried in log:
        yield from ((tried.origins[event.items[0]], event) for event in tried.events if isinstance(event, Fit))


def decided(job: Job, shard: Shard, source: Source, account: Account) -> list[Row]:
    """A line for each file, or each commit, of a shard that was read, by repository and path."""
    split: Split = load(job.place("clean", shard) / SPLIT)
    tally, made = account.books.tally, account.made
    left_out = [_row(source, each.origin, tally, made, decision=each) for each in tally.decisions]
    gone = {each.origin for each in tally.decisions}
    kept = [_row(source, origin, tally, made, side=split(origin)) for origin in tally.looks if origin not in gone]
    return sorted([*left_out, *kept], key=lambda row: (row.repo, row.path, row.commit))


def _row(
    source: Source,
    origin: Origin,
    tally: Tally,
    made: Counter[Origin],
    *,
    decision: Decision | None = None,
    side: Side | None = None,
) -> Row:
    looks = tally.looks.get(origin)
    size = looks.size if looks else decision.size if decision else None
    return Row(
        kind=_KINDS[source],
        repo=origin.repo,
        commit=origin.commit,
        path=origin.path,
        language=looks.language if looks else None,
        license=origin.license,
        bytes=size,
        side=side,
        reason=decision.reason if decision else None,
        detail=(decision.detail or None) if decision else None,
        samples=made[origin],
        redactions=tally.redacted_in[origin],
    )
