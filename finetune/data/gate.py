"""What instructions must pass after they are made: no question twice, no answer twice. Counts of all that were tried, by miner."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field

from finetune.data.tally import Tally
from finetune.records import InstructSample, Origin, Sample

_PROSE = 24  # characters: a shorter answer, "Returns true." or "42", is an answer to many questions


@dataclass(slots=True)
class Gate:
    """One for a build. `tallies` count parts of items, such as functions, where the tallies of a build count items."""

    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    _questions: set[bytes] = field(default_factory=set)
    _answers: set[bytes] = field(default_factory=set)

    def refuse(self, miner: str, origin: Origin, part: str, reason: str) -> None:
        """Counts something that became no sample."""
        tally = self.tallies[miner]
        tally.read += 1
        tally.drop(origin, reason, part)

    def admit(self, miner: str, sample: Sample) -> str | None:
        """Counts a sample that fits a row, or gives the reason why it is left out: an earlier one asks or answers the same.

        White space makes no difference. The first to come stays, and items come in the order of names and of git.
        """
        if not isinstance(sample, InstructSample):
            return None
        reason = self._seen(sample)
        if reason:
            self.refuse(miner, sample.origin, sample.instruction.partition("\n")[0], reason)
        else:
            self.tallies[miner].read += 1
            self.tallies[miner].kept += 1
        return reason

    def _seen(self, sample: InstructSample) -> str | None:
        earlier = [text for turn in sample.earlier for text in turn]
        question = _key(*earlier, sample.instruction, sample.context)
        answer = _key(sample.answer) if len("".join(sample.answer.split())) >= _PROSE else None
        if question in self._questions:
            return "same_question"
        if answer in self._answers:
            return "same_answer"
        self._questions.add(question)
        if answer is not None:
            self._answers.add(answer)
        return None


def _key(*texts: str) -> bytes:
    joined = "\0".join("".join(text.split()) for text in texts)
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).digest()
