"""Instructions out of commits, by CommitPackFT's rules."""

from __future__ import annotations

import dataclasses
import time

import pytest

from finetune.data.mine import mine
from finetune.data.miners import Bench
from finetune.data.miners.commits import Commits, clean, count_tokens
from finetune.data.render import Encoder
from finetune.data.tally import Tally
from finetune.records import Change, InstructSample, Origin

BEFORE = "def area(width, height):\n    return width + height\n"
AFTER = "def area(width, height):\n    return width * height\n"
GOOD = "Multiply the sides of a rectangle\n\nThey were added.\n"


def change(message: str = GOOD, **fields: str) -> Change:
    origin = Origin("project", fields.pop("commit", "c0ffee"), fields.pop("path", "src/shapes.py"), "MIT")
    made = Change(origin, "Python", message, BEFORE, AFTER)
    return dataclasses.replace(made, **fields)


@pytest.fixture
def bench(encoder: Encoder) -> Bench:
    return Bench(encoder, 512, 0)


def test_a_good_commit_asks_with_its_subject_and_answers_with_the_file_after(bench: Bench) -> None:
    (sample,) = Commits()(change("Multiply the sides of a rectangle\n\nThey were added.\n", path="src/shapes.py"), bench)
    assert sample == InstructSample(sample.origin, "Multiply the sides of a rectangle", BEFORE, AFTER)


def test_the_number_of_a_squashed_merge_is_no_reason_to_drop(bench: Bench) -> None:
    (sample,) = Commits()(change("fix(area): multiply the sides of a rectangle (#12)"), bench)
    assert isinstance(sample, InstructSample)
    assert sample.instruction == "Multiply the sides of a rectangle"


RULES = [
    (change(""), "no_message"),
    (change(before="x" * 50_000), "old_version_too_long"),
    (change(after=" \n"), "emptied"),
    (change(after=BEFORE), "unchanged"),
    (change("Fix the sum of sides #12"), "subject_with_number_sign"),
    (change("Fix the sum in shapes at last"), "subject_names_its_file"),
    (change("Fix it"), "subject_length"),
    (change("Fix a b c"), "subject_length"),
    (change("Fix " + "the sides " * 120), "subject_length"),
    (change("[area] [sides] Fix the sum"), "cleaned_subject_length"),
    (change("multiply the sides of a rectangle"), "subject_without_capital"),
    (change("Sides of a rectangle are multiplied"), "subject_without_imperative"),
    (change("Fix the sides wip of a rectangle"), "subject_is_noise"),
    (change("Fix the sides, I hope it is right"), "subject_is_noise"),
    (change("Merge branch of the other sides"), "subject_is_noise"),
    (change("Fix what https://tracker/1 says about it"), "subject_is_noise"),
    (change("Update the rectangle sides to v1.20.3"), "subject_is_reference"),
    (change("Fix the sides of issue 17 now"), "subject_is_reference"),
    (change("Revert 0123456789abcdef0123456789abcdef01234567 in these parts"), "subject_is_reference"),
    (change(before="a = 1\n", after="a = 2\n"), "too_few_tokens"),
    (change(before=BEFORE * 20), "too_many_tokens"),
    (change(after=AFTER * 20), "too_many_tokens"),
]


@pytest.mark.parametrize(("item", "reason"), RULES, ids=[f"{reason}-{number}" for number, (_, reason) in enumerate(RULES)])
def test_each_rule_drops_with_its_own_reason(bench: Bench, item: Change, reason: str) -> None:
    assert Commits()(item, bench) == reason


def test_a_file_is_named_as_a_word_not_as_letters(bench: Bench) -> None:
    assert Commits()(change("Fix the radio of a rectangle", path="src/io.py"), bench) != "subject_names_its_file"
    assert Commits()(change("Fix what IO does for a rectangle", path="src/io.py"), bench) == "subject_names_its_file"


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Fix the sum [skip ci]", "Fix the sum"),
        ("[CI SKIP] Fix the sum", "Fix the sum"),
        ("[core][api] Fix the sum [#12]", "Fix the sum"),
        ("core: Fix the sum", "Fix the sum"),
        ("feat(parser)!: add the sum", "Add the sum"),
        ("src/shapes.py: fix the sum", "Fix the sum"),
        ("Fix the sum: add the sides", "Fix the sum: add the sides"),
        ("Fix a[i] in the sum", "Fix a[i] in the sum"),
        ("fix the sum", "fix the sum"),
        ("core: ", "core:"),
    ],
)
def test_marks_for_machines_are_cleaned_away(subject: str, expected: str) -> None:
    assert clean(subject) == expected


def test_one_version_bump_in_ten_stays(bench: Bench) -> None:
    bumps = [change("Bump the pinned rectangle package again", commit=f"{number:040x}") for number in range(400)]
    kept = [bump for bump in bumps if not isinstance(Commits()(bump, bench), str)]
    assert 20 < len(kept) < 60
    assert all(isinstance(Commits(version_bumps=0)(bump, bench), str) for bump in kept)


def test_token_bounds_are_the_bases_own_tokens(bench: Bench) -> None:
    tokens = len(BEFORE.encode()) + 1 + len(AFTER.encode())
    assert not isinstance(Commits(min_tokens=tokens, max_tokens=tokens)(change(), bench), str)
    assert Commits(min_tokens=tokens + 1)(change(), bench) == "too_few_tokens"
    assert Commits(max_tokens=tokens - 1)(change(), bench) == "too_many_tokens"


def test_a_very_long_file_is_not_counted_to_its_end(encoder: Encoder) -> None:
    started = time.process_time()
    assert count_tokens("word " * 2_000_000, encoder, limit=700) > 700
    assert time.process_time() - started < 0.5


def test_a_sample_longer_than_a_row_is_dropped_whole(encoder: Encoder) -> None:
    tally = Tally(read=1)
    assert list(mine([change()], [Commits()], Bench(encoder, 64, 0), learn="all", tally=tally)) == []
    assert dict(tally.dropped) == {"longer_than_a_row": 1}
    assert tally.decisions[0].origin == change().origin
