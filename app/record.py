"""What was asked and answered: questions, records, and a reader's session."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from finetune.records import Answer, Prompt, Sampling

KEPT = 200  # questions of a session, so that a page left open for a week stays small
SIDES = ("A", "B")  # what two answers are called as long as nobody is to know who wrote them

State = Literal["running", "ended", "cut"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every arm; `truth` is the text that really stands there, where it is known, and `name` says where."""

    prompt: Prompt
    truth: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One question with its answers, in the order in which they are shown.

    `blind`: who wrote which is not shown before the vote. `choice`: an arm, "tie" or "neither"; None before the vote. `counted`: the
    vote is the first on this record. `at`: when it was asked, UTC.
    """

    question: Question
    sampling: Sampling
    answers: Sequence[Answer]
    state: State
    at: str
    blind: bool = False
    choice: str | None = None
    counted: bool = True

    @property
    def hidden(self) -> bool:
        """Whether the names of the arms are still kept back."""
        return self.blind and self.choice is None and not self.same

    @property
    def same(self) -> bool:
        """Whether all have ended and say the same, so that there is nothing to choose."""
        return self.state == "ended" and len({answer.text for answer in self.answers}) == 1

    @property
    def open_to_vote(self) -> bool:
        """Whether a reader may vote now: all have ended and nobody knows who wrote what."""
        return self.hidden and self.state == "ended"

    @property
    def id(self) -> str:
        """The same for the same question and the same answers, whoever asks, whenever, and on whichever side they stand."""
        texts = sorted((answer.arm, answer.text) for answer in self.answers)
        content = json.dumps([prompt_fields(self.question.prompt), texts], sort_keys=True)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    def label(self, answer: Answer) -> str:
        """What the side is called: A or B until the vote, then with its arm."""
        if not self.blind:
            return answer.arm
        side = SIDES[[*self.answers].index(answer)]
        return side if self.hidden else f"{side}: {answer.arm}"


class Session:
    """What one reader has asked since the page was opened, the latest last; `stopped` since the present question began.

    No dataclass: gradio would write one out into the page.
    """

    def __init__(self) -> None:
        self.records: deque[Record] = deque(maxlen=KEPT)
        self.stopped = False


def prompt_fields(prompt: Prompt) -> Mapping[str, object]:
    """A prompt's kind and parts, for JSON."""
    return {"kind": type(prompt).__name__.removesuffix("Prompt").lower(), **asdict(prompt)}


def export_lines(records: Sequence[Record]) -> str:
    """The records as JSON, one a line. Arms that a blind record still hides stay hidden."""
    return "".join(json.dumps(_exported(record), ensure_ascii=False) + "\n" for record in records)


def _exported(record: Record) -> Mapping[str, object]:
    answers = [
        {"arm": record.label(answer)[:1] if record.hidden else answer.arm}
        | {"text": answer.text, "tokens": answer.tokens, "stopped": answer.stopped, "finished": answer.finished}
        | ({} if record.hidden else {"seconds": answer.seconds, "first_s": answer.first_s})
        | {"said": [asdict(token) for token in answer.said]}
        for answer in record.answers
    ]
    return {
        "id": None if record.hidden else record.id,
        "at": record.at,
        "name": record.question.name,
        "prompt": prompt_fields(record.question.prompt),
        "truth": record.question.truth,
        "sampling": asdict(record.sampling),
        "blind": record.blind,
        "choice": record.choice,
        "answers": answers,
    }
