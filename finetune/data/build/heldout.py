"""Every text that is held out, for what comes after the proof: lines of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.data.build import join, settle
from finetune.data.build.job import Job
from finetune.data.build.join import Boundaries, corpus, parts_of, read_joined
from finetune.data.build.tools import told
from finetune.data.spool import Spool, Spools
from finetune.records import Origin, SourceFile

if TYPE_CHECKING:
    from finetune.data.build.proof import Withdrawn


def boundaries_of(job: Job) -> Boundaries:
    """The indexes of the held-out files, then of the old and the new text of each held-out change."""
    return Boundaries([*parts_of(job.place("join") / join.PARTS), *parts_of(job.place("settle") / settle.PARTS)])


@dataclass(slots=True)
class Heldout:
    """Held-out files, and changes but for the `withdrawn`. `trained` counts texts that were compared and are trained on."""

    files: Spools[SourceFile]
    numbers: join.Joined
    changes: Spool[Origin]
    boundaries: Boundaries
    withdrawn: Withdrawn
    trained: int = 0

    def like(self, text: str) -> str | None:
        """The held-out file or change most like a text, and how like; None where none is."""
        for match in sorted(self.boundaries.all_near(text), key=lambda match: (-match.similarity, match.number)):
            after = match.number - len(self.numbers.held)
            if after < 0:
                return told(self.files[int(self.numbers.held[match.number])].origin, match.similarity)
            if not self.withdrawn.has(after // 2):
                return told(self.changes[after // 2], match.similarity)
        return None


@contextmanager
def open_heldout(job: Job, withdrawn: Withdrawn) -> Iterator[Heldout]:
    """What a job whose stages are done holds out."""
    with corpus(job) as files, closing(Spool[Origin](job.place("settle") / settle.HELD)) as changes:
        yield Heldout(files, read_joined(job), changes, boundaries_of(job), withdrawn)
