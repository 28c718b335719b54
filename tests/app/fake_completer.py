"""A completer that needs no model."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from finetune.errors import FinetuneError
from finetune.records import Answer, Prompt, Sampling, Token

CHANCES = (0.97, 0.71, 0.42, 0.99, 0.12)
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
    answering: list[Sequence[str]] = field(default_factory=list)
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    started: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    never: threading.Event = field(default_factory=threading.Event)

    def stream(self, prompt: Prompt, sampling: Sampling, *, arms: Sequence[str] | None = None) -> Iterator[Sequence[Answer]]:
        arms = arms or self.arms
        self.answering.append(arms)
        self.asked.append((prompt, sampling))
        if self.refusal:
            raise FinetuneError(self.refusal)
        try:
            yield from self._growing(sampling, arms)
        finally:
            self.closed.set()

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sequence[Answer]]:
        return [[*self.stream(prompt, sampling)][-1] for prompt in prompts]

    def _growing(self, sampling: Sampling, arms: Sequence[str]) -> Iterator[Sequence[Answer]]:
        pieces = {arm: _PIECE.findall(self.texts[arm]) for arm in arms}
        step = 0
        while True:
            step += 1
            if self.paced:
                assert self.go.acquire(timeout=WAIT_S)
            if self.endless:
                self.never.wait(0.01)  # its pace: 100 pieces a second
                pieces = {arm: [*said, f"{step} "] for arm, said in pieces.items()}
            answers = [self._answer(arm, pieces[arm], step, sampling) for arm in arms]
            yield answers
            self.started.set()
            if all(answer.finished for answer in answers):
                return

    def _answer(self, arm: str, pieces: Sequence[str], step: int, sampling: Sampling) -> Answer:
        count = min(step, len(pieces), sampling.max_new_tokens)
        ended = not self.endless and count == len(pieces)
        text, finished = "".join(pieces[:count]), ended or (count == sampling.max_new_tokens and not self.endless)
        said = [
            Token(piece, chance, [(piece, chance), ("pass", 0.01)]) for piece, chance in zip(pieces[:count], cycle(CHANCES), strict=False)
        ]
        said += [Token("<|endoftext|>", 0.87, [("<|endoftext|>", 0.87)], stop=True)] if ended else []
        kept = (*said,) if sampling.others else ()
        return Answer(arm, text, count, 0.05 * step, stopped=ended, finished=finished, first_s=0.05, said=kept)
