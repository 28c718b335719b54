"""`BatchCompleter`: every arm's answer to every prompt, in one batch of one model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from finetune.data.render import Encoder, encode_prompt
from finetune.errors import EvaluateError, ModelError
from finetune.generate.choose import Draw, choose
from finetune.generate.lanes import Lanes
from finetune.generate.rows import BASE_ADAPTER, Engine
from finetune.records import Answer, Prompt, Sampling

if TYPE_CHECKING:
    from torch.nn import Module

T = TypeVar("T")

BASE = "base"
_UNFINISHED = "\ufffd"  # what a decoder gives for the first bytes of a character whose rest has not come


@dataclass(frozen=True, slots=True)
class Filled:
    """What the arms say to one prompt, and the nats that the true continuation costs each of them; in the order of `arms`."""

    answers: Sequence[Answer]
    nats: Sequence[float]


@dataclass(slots=True)
class _Row:
    """One arm's answer as it grows."""

    arm: str
    draw: Draw
    ids: list[int]
    seconds: float = 0.0
    stopped: bool = False
    finished: bool = False


class BatchCompleter:
    """A `Completer` over one model.

    `adapters` gives for each arm beside "base" the name its adapter has in the model. `batch_size` is how many prompts are read at
    once, each by every arm. Greedy answers are the same in any batch. Threads may share it: forward passes take turns.
    """

    def __init__(
        self, model: Module, encoder: Encoder, adapters: Mapping[str, str], *, context_length: int | None, batch_size: int = 8
    ) -> None:
        assert BASE not in adapters
        self._engine = Engine(model, (*model.modules(),), encoder.pad_id, mixed=bool(adapters), alone=_alone(model, adapters), lock=Lock())
        self._adapters = (BASE_ADAPTER, *adapters.values())
        self.encoder = encoder
        self._context_length = context_length
        self._batch_size = batch_size
        self.arms: Sequence[str] = (BASE, *adapters)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[Sequence[Answer]]:
        """Growing answers, one per arm, until all are finished. Closing the iterator stops the work."""
        ids = self._prompt_ids(prompt, sampling)
        rows = self._rows([ids], sampling)
        for _ in self._grow(self._read([ids]), rows, sampling):
            yield [self._answer(row) for row in rows]

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sequence[Answer]]:
        """The finished answers, one per arm, for each prompt."""
        ids = [self._prompt_ids(prompt, sampling) for prompt in prompts]
        answers: dict[int, Sequence[Answer]] = {}
        for batch in self._batches(ids):
            answers |= zip(batch, self._finish(self._read([ids[i] for i in batch]), [ids[i] for i in batch], sampling), strict=True)
        return [answers[index] for index in range(len(prompts))]

    def fill(self, prompts: Sequence[Prompt], truths: Sequence[str], sampling: Sampling) -> Iterator[tuple[int, Filled]]:
        """(index, answers and the truth's cost) for each prompt, batch by batch as they are done. A prompt is read once for both."""
        ids = [self._prompt_ids(prompt, sampling) for prompt in prompts]
        for batch in self._batches(ids):
            read = self._read([ids[i] for i in batch])
            nats = self._costs(read, [self.encoder.text(truths[i]) for i in batch])
            for index, answers, costs in zip(batch, self._finish(read, [ids[i] for i in batch], sampling), nats, strict=True):
                yield index, Filled(answers, costs)

    def costs(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[Sequence[float]]:
        """The nats of each continuation after its prompt, one per arm; its own tokens alone, no stop token."""
        texts = [self.encoder.text(continuation) for continuation in continuations]
        ids = [self._prompt_ids(prompt, Sampling(max_new_tokens=max(1, len(text)))) for prompt, text in zip(prompts, texts, strict=True)]
        found: dict[int, Sequence[float]] = {}
        for batch in self._batches(ids):
            found |= zip(batch, self._costs(self._read([ids[i] for i in batch]), [texts[i] for i in batch]), strict=True)
        return [found[index] for index in range(len(prompts))]

    def _prompt_ids(self, prompt: Prompt, sampling: Sampling) -> list[int]:
        if sampling.max_new_tokens < 1 or sampling.temperature < 0 or not 0 < sampling.top_p <= 1:
            raise EvaluateError(f"found {sampling}; write max_new_tokens of 1 or more, temperature of 0 or more, top_p in (0, 1]")
        # An empty text begins where a document begins: after the end of another.
        ids = encode_prompt(prompt, self.encoder) or [self.encoder.end_id]
        most = self._context_length
        if most is not None and len(ids) + sampling.max_new_tokens > most:
            raise EvaluateError(
                f"the prompt has {len(ids)} tokens and up to {sampling.max_new_tokens} are to follow, but the model reads at most {most}; "
                f"shorten the prompt by {len(ids) + sampling.max_new_tokens - most} tokens, or ask for fewer new ones"
            )
        return ids

    def _batches(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Indices of prompts of about the same length, longest first: little padding, and too little memory shows at once."""
        ordered = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
        for start in range(0, len(ordered), self._batch_size):
            yield ordered[start : start + self._batch_size]

    def _read(self, prompts: Sequence[Sequence[int]]) -> Lanes:
        return Lanes(self._engine, [ids for ids in prompts for _ in self.arms], [*self._adapters] * len(prompts))

    def _rows(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[_Row]:
        return [_Row(arm, Draw(sampling, ids), []) for ids in prompts for arm in self.arms]

    def _costs(self, read: Lanes, continuations: Sequence[Sequence[int]]) -> list[Sequence[float]]:
        return self._by_prompt(read.costs([text for text in continuations for _ in self.arms]))

    def _finish(self, read: Lanes, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Sequence[Answer]]:
        rows = self._rows(prompts, sampling)
        for _ in self._grow(read, rows, sampling):
            pass
        return self._by_prompt([self._answer(row) for row in rows])

    def _by_prompt(self, rows: Sequence[T]) -> list[Sequence[T]]:
        return [rows[start : start + len(self.arms)] for start in range(0, len(rows), len(self.arms))]

    def _grow(self, read: Lanes, rows: Sequence[_Row], sampling: Sampling) -> Iterator[None]:
        """Adds a token to every row that is not finished, and pauses after each; finished rows leave the batch."""
        started = time.monotonic()
        going = [*rows]
        while True:
            tokens = choose(read.next_logits(), [row.draw for row in going])
            for row, token in zip(going, tokens, strict=True):
                row.stopped = token in self.encoder.stop_ids
                row.ids += [] if row.stopped else [token]
                row.finished = row.stopped or len(row.ids) == sampling.max_new_tokens
                row.seconds = time.monotonic() - started
            yield
            left = [index for index, row in enumerate(going) if not row.finished]
            if not left:
                return
            if len(left) < len(going):
                read.select(left)
                going = [going[index] for index in left]
            read.advance([row.ids[-1] for row in going])

    def _answer(self, row: _Row) -> Answer:
        text = self.encoder.decode(row.ids).rstrip(_UNFINISHED)
        return Answer(row.arm, text, tokens=len(row.ids), seconds=row.seconds, stopped=row.stopped, finished=row.finished)


def _alone(model: Any, adapters: Mapping[str, str]) -> frozenset[str]:
    """The adapters that peft can not answer beside others in one batch. Raises ModelError for one that needs `disable_adapter`.

    That call switches adapters off for the whole model, under the feet of every other answer.
    """
    configs = {arm: model.peft_config[name] for arm, name in adapters.items()}
    for arm, config in configs.items():
        if config.peft_type != "LORA":
            kind = str(config.peft_type.value).lower()
            raise ModelError(f"run {arm}: a {kind} adapter can not be answered beside its base; write adapter.kind=lora")
    return frozenset(adapters[arm] for arm, config in configs.items() if config.use_dora)
