"""What flows between the stages: small frozen records, no effects, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

FEWEST_FOR_A_VERDICT = 6  # files: five change in one direction by chance alone more often than one time in twenty
REPORT_FORMAT = 2  # of an evaluation: raised when the same adapter and recipe would give another report
IGNORED = -100  # the label of a token that is not learnt (torch's cross-entropy default)

Form = Literal["psm", "spm", "plain"]
Side = Literal["train", "valid"]
InstructForm = Literal["question", "commit"]
Turn: TypeAlias = tuple[str, str]  # what was asked before, and what was answered


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text comes from; carried by everything derived from it.

    `license` is an SPDX expression, None when no licence was found. `generated` and `vendored` are what the repository itself says
    of the path in .gitattributes (linguist-generated, linguist-vendored), None where it says nothing. `repo_license` is the licence
    of the repository as a whole, that at its root.
    """

    repo: str
    commit: str
    path: str
    license: str | None = None
    generated: bool | None = None
    vendored: bool | None = None
    repo_license: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file at one commit, as valid text."""

    origin: Origin
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One file of one commit: `before` and `after` are the whole file.

    `programs`: 0 when the commit changes this file and nothing else, else how many program files it changes, tests left out.
    """

    origin: Origin
    language: str
    message: str
    before: str
    after: str
    programs: int = 0


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
class ContextSample:
    """Files of one repository side by side, each plain or with a hole.

    `named`: the repository's name and the files' paths are written. A family that writes what it knows of one file has the three apart:
    `named` the repository, `path` the file, `stars` a bucket of GitHub's stars, None where it is not written. `redacted`: what is written
    for the repository and each path; empty: what the origins say.
    """

    parts: tuple[FimSample, ...]
    named: bool
    path: bool = True
    stars: str | None = None
    redacted: tuple[str, ...] = ()

    @property
    def origin(self) -> Origin:
        """Where the first file comes from."""
        return self.parts[0].origin


@dataclass(frozen=True, slots=True)
class InstructSample:
    """A request and its answer; `context` is the code the request is about and may be empty.

    `form` "commit": written with a family's commit tokens. `earlier`: what was said before. `others`: the other files it is made of.
    """

    origin: Origin
    instruction: str
    context: str
    answer: str
    form: InstructForm = "question"
    earlier: tuple[Turn, ...] = ()
    others: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a notebook; `output` is what its code wrote, empty where it wrote nothing."""

    kind: Literal["code", "text"]
    source: str
    output: str = ""


@dataclass(frozen=True, slots=True)
class NotebookSample:
    """Cells of a notebook, in order; as a "script" they are one cell of code."""

    origin: Origin
    cells: tuple[Cell, ...]
    form: Literal["structured", "script"] = "structured"


Item: TypeAlias = SourceFile | Change
Sample: TypeAlias = FimSample | ContextSample | InstructSample | NotebookSample


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sample as token ids; `labels` has the same length, IGNORED where nothing is learnt.

    `marks`: where each of the pieces that were tokenised apart begins, times two, and one more where the piece is of an answer.
    """

    input_ids: Sequence[int]
    labels: Sequence[int]
    marks: Sequence[int] = field(default=(), compare=False)


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

    `files` is how many files the items are from, `better` which direction is an improvement.
    """

    base: Estimate
    tuned: Estimate
    difference: Estimate
    files: int
    better: Literal["higher", "lower"] = "higher"

    @property
    def shown(self) -> bool:
        """Whether the interval of the difference leaves out zero, over files enough to tell."""
        return self.files >= FEWEST_FOR_A_VERDICT and (self.difference.low > 0 or self.difference.high < 0)


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
class ContextPrompt:
    """A hole in the last file of a sample, which is prefix first or plain, behind the files before it."""

    sample: ContextSample


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Text to go on from, left to right."""

    text: str


@dataclass(frozen=True, slots=True)
class InstructPrompt:
    """A request, and the code it is about; `form` and `earlier` as in InstructSample."""

    instruction: str
    context: str = ""
    form: InstructForm = "question"
    earlier: tuple[Turn, ...] = ()


Prompt: TypeAlias = FimPrompt | TextPrompt | InstructPrompt


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; temperature 0 is greedy.

    `others`: how many of the likeliest tokens are given beside each one that is said; 0: no chances are kept.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 0.95
    seed: int = 0
    others: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was said. Its pieces of `text` join to the answer; bytes of a character come with its last token.

    `chance` is what the model gave it, whatever temperature and top-p then made of that; `others` are the likeliest tokens in its
    place, each with its chance. A stop token has its name for a text.
    """

    text: str
    chance: float
    others: Sequence[tuple[str, float]]
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What one arm has said so far.

    `stopped` is True when the model ended by one of the family's stop tokens, False when it ran into the limit;
    both only mean something once `finished`. `seconds` count from the reading of the prompt on; `first_s` of them went by
    before the first token. `said` are its tokens and the stop token, where `Sampling.others` asks for them.
    """

    arm: str
    text: str
    tokens: int
    seconds: float
    stopped: bool
    finished: bool
    first_s: float | None = None
    said: Sequence[Token] = ()

    @property
    def speed(self) -> float | None:
        """Tokens per second, the prompt's reading left out; None where fewer than two were drawn."""
        drawn = self.tokens + self.stopped - 1
        after = None if self.first_s is None else self.seconds - self.first_s
        return drawn / after if after and drawn > 0 else None


class Completer(Protocol):
    """Answers prompts with the base and any number of adapters, all from one model in memory."""

    @property
    def arms(self) -> Sequence[str]:
        """The names of the arms, "base" first."""
        ...

    def stream(self, prompt: Prompt, sampling: Sampling, *, arms: Sequence[str] | None = None) -> Iterator[Sequence[Answer]]:
        """Growing answers, one for each of `arms` or else of all, until they are finished. Closing the iterator stops."""
        ...

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sequence[Answer]]:
        """The finished answers, one per arm, for each prompt."""
        ...
