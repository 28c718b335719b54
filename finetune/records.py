"""What flows between the stages: small frozen records, no effects, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

IGNORED = -100  # the label of a token that is not learnt (torch's cross-entropy default)

Form = Literal["psm", "spm", "plain"]
Side = Literal["train", "valid"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text comes from; carried by everything derived from it.

    `license` is an SPDX expression, None when no licence was found.
    """

    repo: str
    commit: str
    path: str
    license: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file at one commit, as valid text."""

    origin: Origin
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One file of one commit: `before` and `after` are the whole file."""

    origin: Origin
    language: str
    message: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FimSample:
    """One window of a file: prefix + middle + suffix is the window's text.

    `form` says how it is written: prefix first, suffix first, or plain left to right (then only `middle` holds text).
    """

    origin: Origin
    prefix: str
    middle: str
    suffix: str
    form: Form

    @property
    def text(self) -> str:
        """The window the sample was cut from."""
        return self.prefix + self.middle + self.suffix


@dataclass(frozen=True, slots=True)
class InstructSample:
    """A request and its answer; `context` is the code the request is about and may be empty."""

    origin: Origin
    instruction: str
    context: str
    answer: str


Item: TypeAlias = SourceFile | Change
Sample: TypeAlias = FimSample | InstructSample


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sample as token ids; `labels` has the same length, IGNORED where nothing is learnt."""

    input_ids: Sequence[int]
    labels: Sequence[int]


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Whole samples side by side, exactly row_length tokens; positions restart at 0 with each sample."""

    input_ids: Sequence[int]
    labels: Sequence[int]
    position_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n items with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric on the same items for base and tuned; `difference` is tuned minus base, item by item.

    `better` says which direction is an improvement.
    """

    base: Estimate
    tuned: Estimate
    difference: Estimate
    better: Literal["higher", "lower"] = "higher"

    @property
    def shown(self) -> bool:
        """Whether the interval of the difference leaves out zero."""
        return self.difference.low > 0 or self.difference.high < 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a measurement found; `unscored` counts, by reason, the items no metric could be given for."""

    metrics: Mapping[str, Comparison]
    unscored: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FimPrompt:
    """Text before and after the cursor."""

    prefix: str
    suffix: str


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Text to go on from, left to right."""

    text: str


@dataclass(frozen=True, slots=True)
class InstructPrompt:
    """A request, and the code it is about."""

    instruction: str
    context: str = ""


Prompt: TypeAlias = FimPrompt | TextPrompt | InstructPrompt


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; temperature 0 is greedy."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 0.95
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one arm has said so far.

    `stopped` is True when the model ended by one of the family's stop tokens, False when it ran into the limit;
    both only mean something once `finished`.
    """

    arm: str
    text: str
    tokens: int
    seconds: float
    stopped: bool
    finished: bool


class Completer(Protocol):
    """Answers prompts with the base and any number of adapters, all from one model in memory."""

    @property
    def arms(self) -> Sequence[str]:
        """The names of the arms, "base" first."""
        ...

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[Sequence[Answer]]:
        """Growing answers, one per arm in the order of `arms`, until all are finished. Closing the iterator stops."""
        ...

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sequence[Answer]]:
        """The finished answers, one per arm, for each prompt."""
        ...
