"""CommitPackFT's rules for a commit's subject and its file, each with a reason of its own (arXiv 2308.07124, table 6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from finetune.records import Change

VERBS = frozenset(
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
NOISE = re.compile(
    r"auto ?commit|update (?:contributing|readme)|<\?xml|merge (?:branch|pull request|remote)|signed-off-by|code review|work in progress"
    r"|\bwip\b|https?://|\| ?leetcode|cdpcp|(?<!\S)i(?!\S)|\bi'(?:ve|m)\b|cherry picked from commit|initial (?:commit|import)|checkpoint"
    r"|thanks to.*\bfor\b",
    re.IGNORECASE,
)
# A subject that is a hash and nothing else, which upstream looks for as well, has too few words already.
REFERENCE = re.compile(r"(?:v)?\d+\.\d+\.\d+(?=$|\S)|[a-f0-9]{40}|\b(?:issue|bug|feature)\s*\d+", re.IGNORECASE)
VERSION_BUMP = re.compile(r"(?:bump|set version|update version)\b", re.IGNORECASE)
_BRACKETS = re.compile(r"^\s*(?:\[[^\]]*\]\s*)+|\s*(?:\[[^\]]*\])+\s*$")
_SKIP_CI = re.compile(r"\[(?:skip ci|ci skip)\]", re.IGNORECASE)
_MERGE_NUMBER = re.compile(r"\s*\([#!]\d+\)\s*$")
_PREFIX = re.compile(r"^[\w./-]+(?:\([^)]*\))?!?:\s+")

Rules = Mapping[str, Callable[[Change, str], bool]]


def title_of(message: str) -> str:
    """The first line, without the number a forge adds to a squashed merge; empty where a message is."""
    lines = message.strip().splitlines()
    return _MERGE_NUMBER.sub("", lines[0]) if lines else ""


def clean(subject: str) -> str:
    """The subject without marks for machines: [skip ci], [brackets] at either end, a leading "scope:".

    Who writes "fix(parser): handle tabs" writes a small letter because of the prefix, so it is made a capital when the prefix goes.
    """
    bare = _BRACKETS.sub("", _SKIP_CI.sub("", subject)).strip()
    match = _PREFIX.match(bare)
    return bare if match is None else bare[match.end() :][:1].upper() + bare[match.end() + 1 :]


def first_reason(rules: Rules, change: Change, subject: str) -> str | None:
    """The name of the first rule that is against a change."""
    return next((reason for reason, applies in rules.items() if applies(change, subject)), None)


def _is_short_or_long(_: Change, subject: str) -> bool:
    return not (10 < len(subject) < 1000 and 4 < len(subject.split()) < 1000)


def _names_its_file(change: Change, subject: str) -> bool:
    """As a word: the letters of io.py stand in every other subject."""
    stem = PurePosixPath(change.origin.path).stem
    return re.search(rf"(?<!\w){re.escape(stem)}(?!\w)", subject, re.IGNORECASE) is not None


FILE_RULES: Rules = {
    "no_message": lambda change, _: not change.message.strip(),
    "message_too_long": lambda change, _: len(change.message) > 10_000,
    "old_version_too_long": lambda change, _: len(change.before) >= 50_000,
    "emptied": lambda change, _: not change.after.strip(),
    "unchanged": lambda change, _: change.before == change.after,
}
CHANGE_RULES: Rules = {
    **FILE_RULES,
    "subject_with_number_sign": lambda _, subject: "#" in subject,
    "subject_names_its_file": _names_its_file,
    "subject_length": _is_short_or_long,
}
NOISE_RULES: Rules = {
    "subject_is_noise": lambda _, subject: NOISE.search(subject) is not None,
    "subject_is_reference": lambda _, subject: REFERENCE.search(subject) is not None,
}
SUBJECT_RULES: Rules = {
    "cleaned_subject_length": _is_short_or_long,
    "subject_without_capital": lambda _, subject: not subject[:1].isupper(),
    "subject_without_imperative": lambda _, subject: subject.split()[0].lower() not in VERBS,
    **NOISE_RULES,
}
