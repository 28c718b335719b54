"""Instructions out of commits: the subject asks, the file before is what it asks about, the file after is the answer.

The rules are CommitPackFT's (arXiv 2308.07124, table 6), in its order but for the token bounds: they cost more than the others together and
come last. Its rule for file extensions is what `languages` does; its last rule, four words, follows from the second length rule. One thing
is ours: the number a forge adds to a squashed merge, "(#12)", goes first, or no commit of a repository that squashes would be left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from finetune.data.miners import MINERS, Bench, Miner
from finetune.data.render import Encoder
from finetune.hashing import generator
from finetune.records import Change, InstructSample, Item, Sample

_VERBS = frozenset(
    re.findall(
        r"\w+",
        """
    abort abstract accept access activate adapt add adjust adopt advance align allow alter amend anchor annotate anticipate append apply
    arrange ask assemble assert assign assume attach avoid backport batch bind blacklist block boost break bring broaden build bump
    bundle bypass cache calculate call cancel capture carry cast catch categorize centralise centralize chain change check choose chunk
    clarify classify clean clear clone close coerce collapse collect combine comment compare compile complete compose compress compute
    concatenate condense configure confirm connect consider consolidate constrain construct consume convert copy correct count cover
    create customise customize cut deal debug decode decorate decouple decrypt deduplicate default defer define delay delegate delete
    demote deprecate derive describe detach detect determine disable disallow discard display distinguish distribute divide document
    downgrade download drop dump duplicate echo edit elide eliminate embed emit emulate enable encapsulate encode encrypt enforce
    enhance enqueue enrich ensure enter erase escape establish evaluate exclude execute exit expand expect expire explain export expose
    extend extract factor fail fall fetch fill filter finalize find finish fire fix flag flatten flip float flush fold follow force
    format forward free freeze gate generalise generalize generate get give group guarantee guard handle hardcode harden hash help hide
    highlight hoist honor honour hook identify ignore implement import impose improve include incorporate increase increment indent
    index infer inform inherit initialise initialize initiate inject inline insert inspect install instantiate instrument integrate
    intercept interpret introduce invalidate invert invoke isolate join keep kill label launch leave let lift limit linearize link list
    load localize lock log look loosen lower maintain make mangle map mark mask match measure memoize mention merge migrate minimize
    mirror mock modernize modify monitor mount move multiply mute narrow negate nest normalise normalize notify nudge obey obtain offer
    omit open opt optimise optimize order organize output overhaul overload override overwrite own pack pad page paginate parallelise
    parallelize parametrize parse partition pass patch pause peek perform permit persist pick pin pipe place point polish poll populate
    port postpone prefer prefix prepare prepend preserve prevent print process produce prohibit promote prompt propagate protect provide
    prune publish pull push put qualify query queue quote raise randomize rate reach read readd reapply rearrange reassign rebase
    rebuild recalculate reclaim recognize recompute reconnect record recover recreate rectify redirect reduce reenable refactor refer
    reference refine reflect reformat refresh refuse register reimplement reinstate reintroduce reject relabel relax release reload
    relocate rely remove rename render reorder reorganize repair repeat rephrase replace repoint report reposition represent repurpose
    request require rescue reserve reset reshape resize resolve respect restore restrict restructure restyle resume retain rethrow
    retrieve retry return reuse revert review revise reword rework rewrite rotate round route run sample sandbox sanitize save scaffold
    scale scan schedule scope scroll search secure seed select send separate serialise serialize serve set share ship shorten show
    shrink shuffle sign signal silence simplify skip slice solve sort spawn specialise specialize specify speed spell splice split
    stabilise stabilize stage standardize start stash step stop store stream streamline strengthen strip stub style subscribe substitute
    subtract suggest sum summarise summarize supply support suppress swap switch sync synchronise synchronize tag take target tell
    template terminate test throw tidy tie tighten time toggle tolerate touch trace track train transform translate treat trigger trim
    truncate try tune turn tweak type typeset unblock uncomment undo unify uninstall unmute unpack unquote unregister unroll unset
    unskip unsubscribe unwrap update upgrade upload use utilise utilize validate vectorize vendor verify view virtualize visit wait warn
    watch weaken whitelist widen wire work wrap write yield zero zip
    """,
    )
)
_NOISE = re.compile(
    r"auto ?commit|update (?:contributing|readme)|<\?xml|merge (?:branch|pull request|remote)|signed-off-by|code review|work in progress"
    r"|\bwip\b|https?://|leetcode|\bi\b|\bi'(?:ve|m)\b|cherry picked from commit|initial (?:commit|import)|checkpoint|thanks to.*\bfor\b",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"(?:v)?\d+\.\d+\.\d+(?=$|\S)|^[a-f0-9]+(?:-[a-f0-9]+)*$|[a-f0-9]{40}|\b(?:issue|bug|feature)\s*\d+", re.IGNORECASE)
_VERSION_BUMP = re.compile(r"(?:bump|set version|update version)\b", re.IGNORECASE)
_BRACKETS = re.compile(r"^\s*(?:\[[^\]]*\]\s*)+|\s*(?:\[[^\]]*\])+\s*$")
_SKIP_CI = re.compile(r"\[(?:skip ci|ci skip)\]", re.IGNORECASE)
_MERGE_NUMBER = re.compile(r"\s*\([#!]\d+\)\s*$")
_PREFIX = re.compile(r"^[\w./-]+(?:\([^)]*\))?!?:\s+")


@MINERS.register("commits")
class Commits(Miner):
    """Commits that change one file, as requests with their answer: OctoPack's form and CommitPackFT's rules."""

    source: ClassVar[Literal["files", "history"]] = "history"
    min_tokens: NonNegativeInt = Field(50, description="least tokens in the file before and after together")
    max_tokens: PositiveInt = Field(768, description="most tokens in the file before and after together")
    version_bumps: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="share of version bumps that stay")

    def __call__(self, item: Item, bench: Bench) -> Sequence[Sample] | str:
        assert isinstance(item, Change)
        lines = item.message.strip().splitlines()
        if not lines:
            return "no_message"
        title = _MERGE_NUMBER.sub("", lines[0])
        subject = clean(title)
        reason = (
            _first_reason(_CHANGE_RULES, item, title)
            or _first_reason(_SUBJECT_RULES, item, subject)
            or self._bumps_version(item, subject, bench)
            or self._token_bounds(item, bench.encoder)
        )
        return reason or [InstructSample(item.origin, instruction=subject, context=item.before, answer=item.after)]

    def _bumps_version(self, change: Change, subject: str, bench: Bench) -> str | None:
        origin = change.origin
        draws = generator(bench.seed, origin.repo, origin.commit, origin.path, "commits")
        return "version_bump" if _VERSION_BUMP.match(subject) and draws.random() >= self.version_bumps else None

    def _token_bounds(self, change: Change, encoder: Encoder) -> str | None:
        room = self.max_tokens - 1  # one token stands between the two
        tokens = count_tokens(change.before, encoder, limit=room)
        if tokens <= room:
            tokens += count_tokens(change.after, encoder, limit=room - tokens)
        return "too_many_tokens" if tokens > room else "too_few_tokens" if tokens + 1 < self.min_tokens else None


def clean(subject: str) -> str:
    """The subject without marks for machines: [skip ci], [brackets] at either end, a leading "scope:".

    Who writes "fix(parser): handle tabs" writes a small letter because of the prefix, so it is made a capital when the prefix goes.
    """
    bare = _BRACKETS.sub("", _SKIP_CI.sub("", subject)).strip()
    match = _PREFIX.match(bare)
    return bare if match is None else bare[match.end() :][:1].upper() + bare[match.end() + 1 :]


def count_tokens(text: str, encoder: Encoder, *, limit: int) -> int:
    """How many tokens the text has, or of its beginning when that is more than `limit` already: long histories hold many long files."""
    head = text[: 8 * (limit + 1)]
    tokens = len(encoder.text(head))
    return tokens if tokens > limit or len(head) == len(text) else len(encoder.text(text))


Rules = Mapping[str, Callable[[Change, str], bool]]


def _first_reason(rules: Rules, change: Change, subject: str) -> str | None:
    return next((reason for reason, applies in rules.items() if applies(change, subject)), None)


def _is_short_or_long(_: Change, subject: str) -> bool:
    return not (10 < len(subject) < 1000 and 4 < len(subject.split()) < 1000)


def _names_its_file(change: Change, subject: str) -> bool:
    """As a word: the letters of io.py stand in every other subject."""
    stem = PurePosixPath(change.origin.path).stem
    return re.search(rf"(?<!\w){re.escape(stem)}(?!\w)", subject, re.IGNORECASE) is not None


_CHANGE_RULES: Rules = {
    "old_version_too_long": lambda change, _: len(change.before) >= 50_000,
    "emptied": lambda change, _: not change.after.strip(),
    "unchanged": lambda change, _: change.before == change.after,
    "subject_with_number_sign": lambda _, subject: "#" in subject,
    "subject_names_its_file": _names_its_file,
    "subject_length": _is_short_or_long,
}
_SUBJECT_RULES: Rules = {
    "cleaned_subject_length": _is_short_or_long,
    "subject_without_capital": lambda _, subject: not subject[:1].isupper(),
    "subject_without_imperative": lambda _, subject: subject.split()[0].lower() not in _VERBS,
    "subject_is_noise": lambda _, subject: _NOISE.search(subject) is not None,
    "subject_is_reference": lambda _, subject: _REFERENCE.search(subject) is not None,
}
