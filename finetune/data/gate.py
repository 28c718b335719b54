"""What instructions must pass after they are made: no question twice, no answer twice. Counts of all that were tried, by miner."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from finetune.data.tally import Tally
from finetune.records import InstructSample, Origin, Sample

_PROSE = 24  # characters: a shorter answer, "Returns true." or "42", is an answer to many questions


class Keys(NamedTuple):
    """An instruction by 16 bytes each for what is asked and what is answered, white space left out; a short answer has none."""

    question: bytes
    answer: bytes | None


class Known(Protocol):
    """Digests that have come before."""

    def __contains__(self, digest: object, /) -> bool: ...
    def add(self, digest: bytes, /) -> None: ...


@dataclass(slots=True)
class Gate:
    """One for a build. `tallies` count parts of items, such as functions, where the tallies of a build count items."""

    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    questions: Known = field(default_factory=set[bytes])
    answers: Known = field(default_factory=set[bytes])

    def emptied(self) -> Gate:
        """The same gate with new books: what it has let through it knows."""
        return Gate(questions=self.questions, answers=self.answers)

    def refuse(self, miner: str, origin: Origin, part: str, reason: str) -> None:
        """Counts something that became no sample."""
        tally = self.tallies[miner]
        tally.read += 1
        tally.drop(origin, reason, part)

    def admit(self, miner: str, sample: Sample) -> str | None:
        """Counts a sample that fits a row, or gives the reason why it is left out; all but instructions pass uncounted."""
        keys = keys_of(sample)
        if keys is None:
            return None
        assert isinstance(sample, InstructSample)
        return self.decide(miner, sample.origin, sample.instruction.partition("\n")[0], keys)

    def decide(self, miner: str, origin: Origin, part: str, keys: Keys) -> str | None:
        """Counts an instruction, or gives the reason why it is left out: an earlier one asks or answers the same.

        The first to come stays, and items come in the order of names and of git.
        """
        if keys.question in self.questions:
            reason = "same_question"
        elif keys.answer is not None and keys.answer in self.answers:
            reason = "same_answer"
        else:
            self.questions.add(keys.question)
            if keys.answer is not None:
                self.answers.add(keys.answer)
            self.tallies[miner].read += 1
            self.tallies[miner].kept += 1
            return None
        self.refuse(miner, origin, part, reason)
        return reason


def keys_of(sample: Sample) -> Keys | None:
    """What a sample is compared by; None for what is no instruction."""
    if not isinstance(sample, InstructSample):
        return None
    earlier = [text for turn in sample.earlier for text in turn]
    question = _key(*earlier, sample.instruction, sample.context)
    return Keys(question, _key(sample.answer) if len("".join(sample.answer.split())) >= _PROSE else None)


def _key(*texts: str) -> bytes:
    joined = "\0".join("".join(text.split()) for text in texts)
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).digest()
