"""`BatchCompleter`: every arm's answer to every prompt, in one batch of one model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from finetune.data.render import Encoder, encode_prompt
from finetune.errors import EvaluateError
from finetune.generate.choose import Draw, chances, choose
from finetune.generate.few_rows import few_row_forwards, head_forward, packs_few_rows
from finetune.generate.lanes import Lanes
from finetune.generate.rows import Engine
from finetune.generate.sharing import BASE_ADAPTER, sharing_of
from finetune.records import Answer, Prompt, Sampling, Token

if TYPE_CHECKING:
    from torch.nn import Module

T = TypeVar("T")

BASE = "base"
_ROW_BY_ROW = ("LORA", "BOTTLENECK", "FULL")  # kinds of which each row of a batch can have its own
_UNFINISHED = "\ufffd"  # what a decoder gives for the first bytes of a character whose rest has not come


@dataclass(frozen=True, slots=True)
class Filled:
    """What the arms say to one prompt, and the nats that the true continuation costs each of them; in the order of `arms`."""

    answers: Sequence[Answer]
    nats: Sequence[float]


@dataclass(slots=True)
class _Row:
    """One arm's answer as it grows. `text` is that of the first `told` ids."""

    arm: str
    draw: Draw
    ids: list[int]
    text: str = ""
    told: int = 0
    said: list[Token] = field(default_factory=list)
    seconds: float = 0.0
    first_s: float | None = None
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
        alone, modules = _alone(model, adapters), (*model.modules(),)
        sharing = sharing_of(model, modules, [name for name in adapters.values() if name not in alone])
        few = few_row_forwards(modules) if packs_few_rows() else ()
        self._engine = Engine(model, modules, encoder.pad_id, alone, sharing, few, head_forward(model), Lock())
        self._adapters = {BASE: BASE_ADAPTER, **adapters}
        self.encoder = encoder
        self._names = {encoder.token(sentinel): sentinel for sentinel in encoder.family.sentinels}
        self._context_length = context_length
        self._batch_size = batch_size
        self.arms: Sequence[str] = (BASE, *adapters)

    def stream(self, prompt: Prompt, sampling: Sampling, *, arms: Sequence[str] | None = None) -> Iterator[Sequence[Answer]]:
        """Growing answers of these arms, or of all, until they are finished. Closing the iterator stops the work."""
        arms = self.arms if arms is None else arms
        unknown = sorted({*arms} - {*self.arms})
        if unknown or not arms:
            raise EvaluateError(f"no answer is there from {', '.join(unknown) or 'nobody'}; write some of {', '.join(self.arms)}")
        ids = self._prompt_ids(prompt, sampling)
        rows = [_Row(arm, Draw(sampling, ids), []) for arm in arms]
        for _ in self._grow(self._read([ids], arms), rows, sampling):
            yield [self._answer(row) for row in rows]

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sequence[Answer]]:
        """The finished answers, one per arm, for each prompt."""
        ids = [self._prompt_ids(prompt, sampling) for prompt in prompts]
        answers: dict[int, Sequence[Answer]] = {}
        for batch in self._batches(ids):
            read = self._read([ids[i] for i in batch], self.arms)
            answers |= zip(batch, self._finish(read, [ids[i] for i in batch], sampling), strict=True)
        return [answers[index] for index in range(len(prompts))]

    def fill(self, prompts: Sequence[Prompt], truths: Sequence[str], sampling: Sampling) -> Iterator[tuple[int, Filled]]:
        """(index, answers and the truth's cost) for each prompt, batch by batch as they are done. A prompt is read once for both."""
        ids = [self._prompt_ids(prompt, sampling) for prompt in prompts]
        for batch in self._batches(ids):
            read = self._read([ids[i] for i in batch], self.arms)
            nats = self._costs(read, [self.encoder.text(truths[i]) for i in batch])
            for index, answers, costs in zip(batch, self._finish(read, [ids[i] for i in batch], sampling), nats, strict=True):
                yield index, Filled(answers, costs)

    def _prompt_ids(self, prompt: Prompt, sampling: Sampling) -> list[int]:
        if sampling.max_new_tokens < 1 or sampling.temperature < 0 or not 0 < sampling.top_p <= 1 or sampling.others < 0:
            raise EvaluateError(
                f"found {sampling}; write max_new_tokens of 1 or more, temperature and others of 0 or more, top_p in (0, 1]"
            )
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

    def _read(self, prompts: Sequence[Sequence[int]], arms: Sequence[str]) -> Lanes:
        return Lanes(self._engine, [ids for ids in prompts for _ in arms], [self._adapters[arm] for arm in arms] * len(prompts))

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
        started = time.monotonic() - read.seconds
        going = [*rows]
        while True:
            logits_BV = read.next_logits()
            tokens = choose(logits_BV, [row.draw for row in going])
            for row, token in zip(going, tokens, strict=True):
                row.stopped = token in self.encoder.stop_ids
                row.ids += [] if row.stopped else [token]
                row.finished = row.stopped or len(row.ids) == sampling.max_new_tokens
                row.seconds = time.monotonic() - started
                row.first_s = row.seconds if row.first_s is None else row.first_s
            if sampling.others:
                self._note(going, tokens, chances(logits_BV, tokens, others=sampling.others))
            yield
            left = [index for index, row in enumerate(going) if not row.finished]
            if not left:
                return
            if len(left) < len(going):
                read.select(left)
                going = [going[index] for index in left]
            read.advance([row.ids[-1] for row in going])

    def _note(self, rows: Sequence[_Row], tokens: Sequence[int], found: Sequence[tuple[float, list[tuple[int, float]]]]) -> None:
        """Keep what each row has just said, with its chance."""
        for row, token, (chance, others) in zip(rows, tokens, found, strict=True):
            before = row.text
            text = self._name(token) if row.stopped else self._text(row)[len(before) :]
            row.said.append(Token(text, chance, [(self._name(other), share) for other, share in others], stop=row.stopped))

    def _name(self, token: int) -> str:
        """A token alone; `\ufffd` for bytes that are no whole character."""
        if token not in self._names:
            self._names[token] = self.encoder.decode([token])
        return self._names[token]

    def _text(self, row: _Row) -> str:
        if row.told < len(row.ids):
            row.text, row.told = self.encoder.decode(row.ids).rstrip(_UNFINISHED), len(row.ids)
        return row.text

    def _answer(self, row: _Row) -> Answer:
        text, said = self._text(row), (*row.said,)
        return Answer(row.arm, text, len(row.ids), row.seconds, row.stopped, row.finished, row.first_s, said)


def _alone(model: Any, adapters: Mapping[str, str]) -> frozenset[str]:
    """What peft can not answer beside others in one batch; of methods that never can, the base too."""
    configs = {name: model.peft_config[name] for name in adapters.values()}
    if any(config.peft_type not in _ROW_BY_ROW for config in configs.values()):
        return frozenset({BASE_ADAPTER, *configs})
    return frozenset(name for name, config in configs.items() if getattr(config, "use_dora", False))
