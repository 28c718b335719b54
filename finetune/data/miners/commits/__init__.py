"""Instructions out of commits: the subject asks, the file before is what it asks about, the file after is the answer.

The rules are CommitPackFT's (arXiv 2308.07124, table 6, and octopack's filters), in its order but for the token bounds: they cost more than
the others together and come last. Its rule for file extensions is what `languages` does; its last rule, four words, follows from the second
length rule. docs/instructions.md names what else differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from finetune.data.line_diff import diff, numbered
from finetune.data.miners import MINERS, Bench, Made, Miner
from finetune.data.miners.commits.rules import (
    CHANGE_RULES,
    MACHINE_RULES,
    NOISE_RULES,
    SUBJECT_RULES,
    VERSION_BUMP,
    clean,
    first_reason,
    title_of,
)
from finetune.data.miners.commits.verbs import COMMITPACKFT, MORE, PHRASES
from finetune.data.render import Encoder
from finetune.errors import DataError
from finetune.hashing import generator
from finetune.records import Change, InstructSample, Item, Origin

__all__ = ["ChangeMiner", "Commits", "clean", "count_tokens"]

Form = Literal["text", "lines", "sentinels"]


class ChangeMiner(Miner):
    """What makes requests of changes: which commits it looks at, and how an old text and a new one are written."""

    source: ClassVar[Literal["files", "history", "lines"]] = "history"

    form: Form = Field("text", description="text: OctoPack's; lines: the answer is a line diff; sentinels: StarCoder 1's commit tokens")
    program_files: NonNegativeInt = Field(
        0, description="most program files in a commit, beside tests and prose; 0: it changes one file and nothing else"
    )

    def asked(self, origin: Origin, instruction: str, before: str, after: str) -> InstructSample:
        """The request and its answer in the form the recipe asks for."""
        match self.form:
            case "text":
                return InstructSample(origin, instruction, before, after)
            case "lines":
                return InstructSample(origin, instruction, numbered(before), diff(before, after))
            case "sentinels":
                return InstructSample(origin, instruction, before, after, form="commit")

    def require_tokens(self, bench: Bench) -> None:
        """Raises DataError when the base has no tokens for the form: to write them as text would be silence."""
        if self.form == "sentinels" and bench.encoder.commit is None:
            raise DataError(
                f"data.miners: {self.kind} has form sentinels, but family {bench.encoder.family.name} has no tokens for commits; "
                f"write {{kind: {self.kind}, form: text}}, or choose a base model of starcoder"
            )


@MINERS.register("commits")
class Commits(ChangeMiner):
    """Commits that change one file, as requests with their answer: OctoPack's form and CommitPackFT's rules."""

    min_tokens: NonNegativeInt = Field(50, description="least tokens in the file before and after together")
    max_tokens: PositiveInt = Field(768, description="most tokens in the file before and after together")
    verbs: Literal["commitpackft", "more"] = Field(
        "commitpackft", description="what a subject may begin with: CommitPackFT's 256 verbs, or some 400 more beside them"
    )
    version_bumps: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="share of version bumps that stay")

    def __call__(self, item: Item, bench: Bench) -> Sequence[Made] | str:
        assert isinstance(item, Change)
        self.require_tokens(bench)
        if item.programs > self.program_files:
            return "many_files"
        title = title_of(item.message)
        subject = clean(title)
        reason = (
            first_reason(CHANGE_RULES, item, title)
            or first_reason(SUBJECT_RULES, item, subject)
            or self._without_imperative(subject)
            or first_reason(MACHINE_RULES, item, subject)
            or self._bumps_version(item, subject, bench)
            or first_reason(NOISE_RULES, item, subject)
            or self._token_bounds(item, bench.encoder)
        )
        return reason or [self.asked(item.origin, subject, item.before, item.after)]

    def _without_imperative(self, subject: str) -> str | None:
        lowered = subject.lower()
        verb = lowered.split()[0]
        known = verb in COMMITPACKFT or lowered.startswith(PHRASES) or (self.verbs == "more" and verb in MORE)
        return None if known else "subject_without_imperative"

    def _bumps_version(self, change: Change, subject: str, bench: Bench) -> str | None:
        origin = change.origin
        draws = generator(bench.seed, origin.repo, origin.commit, origin.path, "commits")
        return "version_bump" if VERSION_BUMP.match(subject) and draws.random() >= self.version_bumps else None

    def _token_bounds(self, change: Change, encoder: Encoder) -> str | None:
        room = self.max_tokens - 1  # one token stands between the two
        tokens = count_tokens(change.before, encoder, limit=room)
        if tokens <= room:
            tokens += count_tokens(change.after, encoder, limit=room - tokens)
        return "too_many_tokens" if tokens > room else "too_few_tokens" if tokens + 1 < self.min_tokens else None


def count_tokens(text: str, encoder: Encoder, *, limit: int) -> int:
    """How many tokens the text has, or of its beginning when that is more than `limit` already: long histories hold many long files."""
    head = text[: 8 * (limit + 1)]
    tokens = len(encoder.text(head))
    return tokens if tokens > limit or len(head) == len(text) else len(encoder.text(text))
