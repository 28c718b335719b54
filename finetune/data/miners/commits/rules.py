"""CommitPackFT's rules for a commit's subject and its file, each with a reason of its own (arXiv 2308.07124, table 6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from finetune.records import Change

TOOL = re.compile(r"auto commit|update contributing|<\?xml|merge branch|merge pull request|signed-off-by", re.IGNORECASE)
COMMIT = re.compile(r"cherry picked from commit|[a-f0-9]{40}", re.IGNORECASE)
NOISE = re.compile(
    r"code ?review|work in progress|\bwip\b|https?://|\| leetcode|cdpcp|(?<!\S)i(?!\S)|\bi'(?:ve|m)\b|thanks to.*for|for.*thanks to"
    r"|\A(?:fix that bug where things didn't work but now they should|put the thingie in the thingie|add a beter commit message)\Z",
    re.IGNORECASE,
)
REFERENCE = re.compile(r"\b(?:issue|bug|feature)\s*\d+", re.IGNORECASE)
VERSION_BUMP = re.compile(r"Bump|Set version|Update version")
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
SUBJECT_RULES: Rules = {
    "cleaned_subject_length": _is_short_or_long,
    "subject_without_capital": lambda _, subject: not subject[:1].isupper(),
}
# Versions and hashes at a subject's beginning, for which upstream looks as well, are no verbs.
MACHINE_RULES: Rules = {
    "subject_of_a_tool": lambda _, subject: TOOL.search(subject) is not None,
    "subject_names_a_commit": lambda _, subject: COMMIT.search(subject) is not None,
}
NOISE_RULES: Rules = {
    "subject_is_noise": lambda _, subject: NOISE.search(subject) is not None,
    "subject_is_reference": lambda _, subject: REFERENCE.search(subject) is not None,
}
