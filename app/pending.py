"""A completer whose model is still being loaded: the page is there meanwhile, and says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event

from finetune.records import Answer, Completer, Prompt, Sampling

_LOOK_S = 0.2  # so soon a reader who waits can stop


class Pending:
    """A `Completer` that answers as soon as it is given one; until then its answers stay empty."""

    def __init__(self, arms: Sequence[str]) -> None:
        self.arms = arms
        self._given = Event()
        self._completer: Completer | None = None

    def give(self, completer: Completer) -> None:
        """From now on this one answers."""
        assert [*completer.arms] == [*self.arms]
        self._completer = completer
        self._given.set()

    @property
    def loading(self) -> bool:
        return not self._given.is_set()

    def stream(self, prompt: Prompt, sampling: Sampling, *, arms: Sequence[str] | None = None) -> Iterator[Sequence[Answer]]:
        while not self._given.wait(_LOOK_S):
            yield [Answer(arm, "", 0, 0.0, stopped=False, finished=False) for arm in (self.arms if arms is None else arms)]
        yield from self._ready().stream(prompt, sampling, arms=arms)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sequence[Answer]]:
        """Waits for the model."""
        self._given.wait()
        return self._ready().complete(prompts, sampling)

    def _ready(self) -> Completer:
        assert self._completer is not None
        return self._completer
