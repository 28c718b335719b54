"""Instructions out of commits, by CommitPackFT's rules."""

from __future__ import annotations

import dataclasses
import time

import pytest

from finetune.data.line_diff import apply, numbered
from finetune.data.mine import mine
from finetune.data.miners import Bench
from finetune.data.miners.commits import Commits, clean, count_tokens
from finetune.data.render import Encoder, encode_prompt, encode_sample, prompt_of
from finetune.data.tally import Tally
from finetune.errors import DataError
from finetune.families import FAMILIES
from finetune.records import IGNORED, Change, InstructPrompt, InstructSample, Origin

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
    (change("Fix what code review found in it"), "subject_is_noise"),
    (change("Fix what //codereview.x found in it"), "subject_is_noise"),
    (change("Fix the work in progress of sides"), "subject_is_noise"),
    (change("Fix the | LeetCode task of sides"), "subject_is_noise"),
    (change("Fix the cdpcp of the sides"), "subject_is_noise"),
    (change("Fix it, thanks to Ada for sides"), "subject_is_noise"),
    (change("Fix for the sides, thanks to Ada"), "subject_is_noise"),
    (change("Add a beter commit message"), "subject_is_noise"),
    (change("Fix that bug where things didn't work but now they should"), "subject_is_noise"),
    (change("Merge branch of the other sides"), "subject_of_a_tool"),
    (change("Merge pull request of the sides"), "subject_of_a_tool"),
    (change("Test an auto commit of sides"), "subject_of_a_tool"),
    (change("Update CONTRIBUTING by the other sides"), "subject_of_a_tool"),
    (change("Add sides <?xml and the rest"), "subject_of_a_tool"),
    (change("Add sides signed-off-by the other side"), "subject_of_a_tool"),
    (change("Fix sides (cherry picked from commit 1a)"), "subject_names_a_commit"),
    (change("Fix what https://tracker/1 says about it"), "subject_is_noise"),
    (change("Fix the sides of issue 17 now"), "subject_is_reference"),
    (change("Revert 0123456789abcdef0123456789abcdef01234567 in these parts"), "subject_names_a_commit"),
    (change(before="a = 1\n", after="a = 2\n"), "too_few_tokens"),
    (change(before=BEFORE * 20), "too_many_tokens"),
    (change(after=AFTER * 20), "too_many_tokens"),
]


SMALL = Commits(min_tokens=0, max_tokens=10**6)
# The least and the most that stays, by what is one less or one more.
BOUNDS = [
    (change(before="x" * 49_999), None),
    (change(before="x" * 50_000), "old_version_too_long"),
    (change(GOOD + "x" * (10_000 - len(GOOD))), None),
    (change(GOOD + "x" * (10_001 - len(GOOD))), "message_too_long"),
    (change("Fix a b c d"), None),  # 11 characters, 5 words
    (change("Fi a b c d"), "subject_length"),  # 10 and 5
    (change("Fix a b cde"), "subject_length"),  # 11 and 4
    (change("Fix the sum sides"), "subject_length"),
    (change("Fix the sum of " + "x" * 984), None),  # 999 characters
    (change("Fix the sum of " + "x" * 985), "subject_length"),
    (change("core: Fix a b c d"), None),
    (change("core: Fix a b c d"[:-2]), "cleaned_subject_length"),
    (change("Fix the sum of sides"), None),
    (change("Fixes the sum of sides"), "subject_without_imperative"),
    (change("Fix-up the sum of the sides"), "subject_without_imperative"),
    *((change(f"{verb} the sum of the sides"), None) for verb in ("Deploy", "Purge", "Address", "Decrease", "Untangle", "Rollback")),
    (change("Fix the I/O of a[i] at last"), None),
    (change("Fix the sum as i see it"), "subject_is_noise"),
    (change("Fix the sum as i've seen it"), "subject_is_noise"),
    (change("Fix the sum of all since 1.20.3"), None),
    (change("Speed up the sum of the sides"), None),
    (change("Deal with the sum of the sides"), None),
    (change("Speed the sum of the sides"), "subject_without_imperative"),
    (change("Sanitize the sum of the sides"), "subject_without_imperative"),
    (change("Save a checkpoint of each of the sides"), None),
    (change("Wipe the sum of the sides"), "subject_without_imperative"),
    (change("Clear the wiped sum of the sides"), None),
    (change("Fix the sum, thanks to Ada and Alan"), None),
    (change("Fix the hash " + "a" * 39 + " of two"), None),
    (change("Fix the hash " + "a" * 40 + " of two"), "subject_names_a_commit"),
    (change("Fix the issue of two sides"), None),
    (change("Fix the shapeshifting of two sides"), None),
    (change("Fix the shapes of two sides"), "subject_names_its_file"),
]


@pytest.mark.parametrize(("item", "reason"), BOUNDS, ids=[str(number) for number in range(len(BOUNDS))])
def test_each_rule_ends_where_it_says(bench: Bench, item: Change, reason: str | None) -> None:
    made = SMALL(item, bench)
    assert (made if isinstance(made, str) else None) == reason


def test_the_rules_are_asked_in_their_order(bench: Bench) -> None:
    worst = change("fix #1 wip shapes", before="x" * 50_000, after=" ")
    commit = "0" * 40
    steps = [
        ("old_version_too_long", {"before": " "}),
        ("emptied", {"before": "y", "after": "y"}),
        ("unchanged", {"after": "z"}),
        ("subject_with_number_sign", {"message": "fix wip shapes"}),
        ("subject_names_its_file", {"message": "fix wip"}),
        ("subject_length", {"message": f"[a] [b] signed-off-by wip {commit}"}),
        ("cleaned_subject_length", {"message": f"[a] all of wip signed-off-by bug 1 {commit}"}),
        ("subject_without_capital", {"message": f"All of wip signed-off-by bug 1 {commit}"}),
        ("subject_without_imperative", {"message": f"Bump wip signed-off-by bug 1 {commit}"}),
        ("subject_of_a_tool", {"message": f"Bump wip of bug 1 {commit}"}),
        ("subject_names_a_commit", {"message": "Bump wip for this bug 1"}),
        ("version_bump", {"message": "Fix wip for this bug 1"}),
        ("subject_is_noise", {"message": "Fix it for this bug 1"}),
        ("subject_is_reference", {"message": "Fix it for this bug again"}),
    ]
    for reason, repair in steps:
        assert Commits(version_bumps=0)(worst, bench) == reason
        worst = dataclasses.replace(worst, **repair)
    assert Commits()(worst, bench) == "too_few_tokens"


def test_more_verbs_are_taken_where_they_are_asked_for(bench: Bench) -> None:
    subject = change("Sanitize the sum of the sides")
    assert SMALL(subject, bench) == "subject_without_imperative"
    assert not isinstance(SMALL.model_copy(update={"verbs": "more"})(subject, bench), str)


@pytest.mark.parametrize(
    "subject",
    [
        "Bump lodash from 4.17.20 to 4.17.21",
        "Bump the pinned rectangle package again",
        "Set version of the rectangle again",
        "Update version of the rectangle",
    ],
)
def test_each_kind_of_version_bump_is_one(bench: Bench, subject: str) -> None:
    assert Commits(version_bumps=0)(change(subject), bench) == "version_bump"
    assert not isinstance(Commits(version_bumps=1)(change(subject), bench), str)


def test_a_commit_of_several_files_is_taken_where_it_is_asked_for(bench: Bench) -> None:
    several = dataclasses.replace(change(), programs=2)
    assert Commits()(several, bench) == Commits(program_files=1)(several, bench) == "many_files"
    assert not isinstance(Commits(program_files=2)(several, bench), str)


def test_a_line_diff_asks_with_numbers_and_its_answer_gives_the_new_file(bench: Bench) -> None:
    (sample,) = Commits(form="lines")(change(), bench)
    assert isinstance(sample, InstructSample)
    assert sample.context == numbered(BEFORE)
    assert apply(BEFORE, sample.answer) == AFTER


def test_commit_tokens_are_written_as_starcoder_learnt_them(encoder_of) -> None:
    family = next(each for each in FAMILIES if each.name == "starcoder")
    assert family.commit is not None
    with_tokens = dataclasses.replace(family, stop=(*family.stop, *family.commit.all))
    encoder = encoder_of(with_tokens)
    (sample,) = Commits(form="sentinels")(change(), Bench(encoder, 512, 0))
    encoded = encode_sample(sample, encoder, learn="answer")
    expected = f"<commit_before>{BEFORE}<commit_msg>Multiply the sides of a rectangle<commit_after>{AFTER}<|endoftext|>"
    assert encoder.decode(encoded.input_ids) == expected
    prompt = encode_prompt(prompt_of(sample), encoder)
    assert encoder.decode(prompt) == expected.partition(AFTER)[0]
    assert [*encoded.labels] == [IGNORED] * len(prompt) + [*encoded.input_ids[len(prompt) :]]
    assert sum(encoder.token(token) in encoded.input_ids for token in family.commit.all) == 3


@pytest.mark.parametrize("family", [each for each in FAMILIES if each.commit is None], ids=lambda family: family.name)
def test_commit_tokens_of_a_family_without_them_are_refused_with_what_to_write(encoder_of, family) -> None:
    with pytest.raises(DataError, match=r"no tokens for commits; write \{kind: commits, form: text\}"):
        Commits(form="sentinels")(change(), Bench(encoder_of(family), 512, 0))
    with pytest.raises(DataError, match="no tokens for commits"):
        encode_prompt(InstructPrompt("Fix it", "a", form="commit"), encoder_of(family))


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
    bumps = [change("Bump rectangle from 4.17.20 to 4.17.21", commit=f"{number:040x}") for number in range(400)]
    kept = [bump for bump in bumps if not isinstance(Commits()(bump, bench), str)]
    assert Commits().version_bumps == 0.1 and 20 < len(kept) < 60
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
