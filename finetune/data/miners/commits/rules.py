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
    abort abstract accelerate accept access accumulate activate adapt add address adjust adopt advance align allot allow alter amend
    amplify anchor annotate anticipate append apply archive arrange ask assemble assert assign assume attach augment automate avoid
    backport backup batch bind blacklist block boost break bring broaden build bump bundle bypass cache calculate call cancel capture
    carry cast catch categorize centralise centralize chain change check choose chunk clarify classify clean clear clone close coerce
    collapse collect combine comment compare compile complete compose compress compute concatenate condense configure confirm connect
    consider consolidate constrain construct consume convert copy correct count cover create customise customize cut deal debug decipher
    declare decode decommission decomplexify decompress decorate decouple decrease decrypt deduplicate default defer define delay
    delegate delete demote deploy deprecate derive describe designate destroy detach detect determine develop diminish disable disallow
    discard disentangle dismantle display distinguish distribute divide document downgrade download drop dump duplicate echo edit elide
    eliminate embed emit emphasize emulate enable encapsulate encode encrypt enforce enhance enlarge enqueue enrich ensure enter
    enumerate eradicate erase escalate escape establish evaluate exclude execute exit expand expect expedite expire explain export
    expose extend extract facilitate factor fail fall fetch fill filter finalize find finish fire fix flag flatten flip float flush fold
    follow force format forward free freeze gate gather generalise generalize generate get give group guarantee guard halt handle
    hardcode harden hash hasten help hide highlight hoist honor honour hook identify ignore implement import impose improve include
    incorporate increase increment indent index infer inflate inform inherit initialise initialize initiate inject inline insert inspect
    install instantiate instrument integrate intercept interpolate interpret interrupt introduce invalidate invert invoke isolate join
    keep kill label launch leave let leverage lift limit linearize link list load localize lock log look loosen lower magnify maintain
    make manage mangle map mark mask match measure memoize mend mention merge migrate minimize mirror mock modernize modify monitor
    mount move multiply mute narrow negate nest normalise normalize notify nudge obey obtain offer omit open opt optimise optimize
    orchestrate order organize output overhaul overload override overwrite own pack package pad page paginate parallelise parallelize
    parametrize paraphrase parse partition pass paste patch pause peek perform permit persist pick pin pipe place plug point polish poll
    populate port postpone prefer prefix prepare prepend preserve prevent print process produce prohibit promote prompt propagate
    protect provide provision prune publish pull purge push put qualify query queue quit quote raise randomize rate reach read readd
    reannotate reapply rearrange reassign rebase reboot rebuild recalculate reclaim recognize recomment recompile recompute reconfigure
    reconnect record recover recreate rectify redact redefine redirect reduce reenable refactor refer reference refine reflect reformat
    refresh refuse register reimplement reinforce reinstate reintroduce reject relabel relax release reload relocate rely remove rename
    render reorder reorganize repackage repair repeat rephrase replace repoint report reposition represent repurpose request require
    reschedule rescue reserve reset reshape resize resolve respect restore restrict restructure restyle resume retain rethrow retrieve
    retry return reuse revert review revise revoke reword rework rewrite rollback rotate round route run sample sandbox sanitize save
    scaffold scale scan schedule scope scroll scrub search secure seed select send separate serialise serialize serve set settle share
    ship shorten show shrink shuffle sign signal silence simplify skip slice solve sort spawn specialise specialize specify speed spell
    splice split stabilise stabilize stage standardize start stash step stipulate stop store stream streamline strengthen strip
    structure stub style subscribe substitute subtract suggest sum summarise summarize supply support suppress swap switch sync
    synchronise synchronize tackle tag take target tell template terminate test throw tidy tie tighten time toggle tolerate touch trace
    track train transform translate transpose treat trigger trim troubleshoot truncate try tune turn tweak type typeset unblock
    uncomment uncover undo unify uninstall unmute unpack unplug unpublish unquote unravel unregister unroll unset unskip unstage
    unsubscribe unsync untangle unwind unwrap update upgrade upload use utilise utilize validate vectorize vendor verify view virtualize
    visit wait warn watch watermark weaken whitelist widen wire withdraw work wrap write yield zero zip
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
