"""A completer that needs no model."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from finetune.errors import FinetuneError
from finetune.records import Answer, Prompt, Sampling

WAIT_S = 20  # for a thing that must happen; a test that passes never waits so long
_PIECE = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass
class FakeCompleter:
    """Says fixed texts, one piece more at each step, and remembers what it was asked.

    `paced`: each step waits for a `go.release()`. `endless`: goes on until its iterator is closed.
    """

    arms: Sequence[str] = ("base", "tuned")
    texts: dict[str, str] = field(default_factory=lambda: {"base": "return x", "tuned": "return x + 1"})
    refusal: str = ""
    paced: bool = False
    endless: bool = False
    asked: list[tuple[Prompt, Sampling]] = field(default_factory=list)
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    started: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[Sequence[Answer]]:
        self.asked.append((prompt, sampling))
        if self.refusal:
            raise FinetuneError(self.refusal)
        try:
            yield from self._growing(sampling)
        finally:
            self.closed.set()

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sequence[Answer]]:
        return [[*self.stream(prompt, sampling)][-1] for prompt in prompts]

    def _growing(self, sampling: Sampling) -> Iterator[Sequence[Answer]]:
        pieces = {arm: _PIECE.findall(self.texts[arm]) for arm in self.arms}
        step = 0
        while True:
            step += 1
            if self.paced:
                assert self.go.acquire(timeout=WAIT_S)
            if self.endless:
                self.closed.wait(0.01)  # its pace: 100 pieces a second
                pieces = {arm: [*said, f"{step} "] for arm, said in pieces.items()}
            answers = [self._answer(arm, pieces[arm], step, sampling) for arm in self.arms]
            yield answers
            self.started.set()
            if all(answer.finished for answer in answers):
                return

    def _answer(self, arm: str, pieces: Sequence[str], step: int, sampling: Sampling) -> Answer:
        count = min(step, len(pieces), sampling.max_new_tokens)
        ended = not self.endless and count == len(pieces)
        return Answer(arm, "".join(pieces[:count]), count, 0.05 * step, stopped=ended, finished=ended or count == sampling.max_new_tokens)
