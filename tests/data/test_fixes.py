"""Bug fixes, cut down to the functions they change."""

from __future__ import annotations

import dataclasses

import pytest

from finetune.data.line_diff import apply
from finetune.data.miners import Bench, Refused
from finetune.data.miners.fixes import Fixes, request, sentence_of, without_number
from finetune.data.render import Encoder
from finetune.records import Change, InstructSample, Origin

AREA = "    def area(self):\n        # Both sides.\n        return self.w {} self.h\n"
AROUND = "def before():\n    return 0\n\n\nclass Shape:\n{}\n    def name(self):\n        return {!r}\n" + "x = 1  # a long file\n" * 5_000
BEFORE, AFTER = AROUND.format(AREA.format("+"), "a"), AROUND.format(AREA.format("*"), "a")
OLD, NEW = (f"def area(self):\n    # Both sides.\n    return self.w {sign} self.h\n" for sign in "+*")


def change(message: str = "Fix the area of a shape", **fields: str) -> Change:
    origin = Origin("project", "c0ffee", fields.pop("path", "src/shapes.py"), "MIT")
    return dataclasses.replace(Change(origin, fields.pop("language", "Python"), message, BEFORE, AFTER), **fields)


@pytest.fixture
def bench(encoder: Encoder) -> Bench:
    return Bench(encoder, 512, 0)


def test_a_fix_asks_with_the_old_function_alone_however_long_its_file_is(bench: Bench) -> None:
    (sample,) = Fixes()(change(), bench)
    assert isinstance(sample, InstructSample)
    assert (sample.instruction, sample.context, sample.answer) == ("Fix the area of a shape", OLD, NEW)


def test_each_changed_function_is_a_sample_of_its_own(bench: Bench) -> None:
    samples = Fixes()(change(after=AROUND.format(AREA.format("*"), "b")), bench)
    assert [sample.answer for sample in samples if isinstance(sample, InstructSample)] == [NEW, "def name(self):\n    return 'b'\n"]
    assert Fixes(max_functions=1)(change(after=AROUND.format(AREA.format("*"), "b")), bench) == "many_functions"


def test_a_fix_can_be_asked_for_as_a_line_diff(bench: Bench) -> None:
    (sample,) = Fixes(form="lines")(change(), bench)
    assert isinstance(sample, InstructSample)
    assert apply(OLD, sample.answer) == NEW


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (change("Add the area of a shape"), "no_fix"),
        (change("Fixture of the area of shapes"), "no_fix"),
        (change("Fix a typo in the area"), "fix_of_form"),
        (change("Fix the tests of the area"), "fix_of_form"),
        (change("Fix the area, wip"), "subject_is_noise"),
        (change("Fix it #12"), "subject_length"),
        (change("Fix #12"), "subject_length"),
        (change("Fix " + "the area of a shape " * 25), "subject_length"),
        (change(""), "no_message"),
        (change(after=BEFORE), "unchanged"),
        (change(after=BEFORE.replace("# Both sides.", "# The sum of both sides.")), "no_function_changed"),
        (change(after=BEFORE + "x = 1\n"), "no_function_changed"),
        (change(path="tests/test_shapes.py"), "test_code"),
        (change(language="Cobol"), "no_syntax_known"),
        (dataclasses.replace(change(), programs=2), "many_files"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_fix_of_a_function_is_dropped_with_its_reason(bench: Bench, item: Change, reason: str) -> None:
    assert Fixes()(item, bench) == reason


def test_a_long_function_is_refused_and_a_short_one_of_the_commit_stays(bench: Bench) -> None:
    def longer(lines: int) -> Change:  # three are there already
        return change(after=AROUND.format(AREA.format("*").replace("self.h", "self.h" + "\n        x()" * (lines - 3)), "b"))

    assert all(isinstance(each, InstructSample) for each in Fixes()(longer(150), bench))
    item = longer(151)
    refused, sample = Fixes()(item, bench)
    assert refused == Refused(item.origin, "Shape.area", "function_too_long")
    assert isinstance(sample, InstructSample)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Fixed a bug in the area", "Fix a bug in the area"),
        ("fixes the area", "Fix the area"),
        ("Bugfix: Wrong area", "Fix wrong area"),
        ("Fix NPE in area()", "Fix NPE in area()"),
        ("Fix IndexError of area", "Fix IndexError of area"),
        ("Handle a crash of area", "Fix this: Handle a crash of area"),
    ],
)
def test_a_request_begins_with_fix(subject: str, expected: str) -> None:
    assert request(subject) == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Fix the area (fixes #12)", "Fix the area"),
        ("Fix the area, closes org/repo#12.", "Fix the area,"),
        ("Fix #12", ""),
        ("Fix the area for GH-12", "Fix the area"),
        ("Fix PROJ-77", ""),
        ("Fix the 12 areas", "Fix the 12 areas"),
    ],
)
def test_a_number_nobody_can_look_up_goes(subject: str, expected: str) -> None:
    assert without_number(subject) == expected


def test_a_subject_may_go_on_in_the_next_line() -> None:
    assert sentence_of("Fix the area of\nshapes. This was wrong.\n\nMore.") == "Fix the area of shapes."
    assert sentence_of("Fix the area (#12)\n\nMore.") == "Fix the area"
    assert sentence_of("Fix the area of 3.x.  This fixes #12") == "Fix the area of 3.x."
