"""The two tables of a build: what was decided of everything that was read, and what every sample is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from finetune.data.build.harvest import SIDES, Harvest
from finetune.data.mine import Mined
from finetune.data.pack import rows_of
from finetune.data.tables import Row, SampleRow
from finetune.data.tally import Decision, Tally
from finetune.records import Origin, Side


def decided(harvest: Harvest, side: Callable[[Origin], Side]) -> Iterator[Row]:
    """A line for everything that was read, files first, each kind by repository and path."""
    made = Counter(origin for name in SIDES for mined in harvest.samples[name] for origin in mined.origins)
    kinds: tuple[tuple[Literal["file", "commit"], Tally], ...] = (("file", harvest.files), ("commit", harvest.changes))
    for kind, tally in kinds:
        left_out = [_row(kind, each.origin, tally, made, decision=each) for each in tally.decisions]
        gone = {each.origin for each in tally.decisions}
        kept = [_row(kind, origin, tally, made, side=side(origin)) for origin in tally.looks if origin not in gone]
        yield from sorted([*left_out, *kept], key=lambda row: (row.repo, row.path, row.commit))


def _row(
    kind: Literal["file", "commit"],
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
        kind=kind,
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


def listed(side: Side, samples: Sequence[Mined], *, row_length: int | None) -> Iterator[SampleRow]:
    """A line for each sample of a side, in the order in which they lie in its rows; `row_length` None: one sample in a row."""
    lengths = [len(mined.encoded.input_ids) for mined in samples]
    rows = [[index] for index in range(len(samples))] if row_length is None else rows_of(lengths, row_length=row_length)
    for number, members in enumerate(rows):
        for mined in (samples[index] for index in members):
            origin = mined.origin
            yield SampleRow(
                side=side,
                row=number,
                tokens=len(mined.encoded.input_ids),
                miner=mined.miner,
                repo=origin.repo,
                commit=origin.commit,
                paths=[each.path for each in mined.origins],
                licenses=[each.license for each in mined.origins],
                marks=[*mined.encoded.marks],
                turns=mined.turns,
            )
