"""Functions with what is said of them, both ways."""

from __future__ import annotations

import pytest

from finetune.data.miners import Bench, Refused
from finetune.data.miners.docstrings import Docstrings, tidied
from finetune.data.render import Encoder
from finetune.records import InstructSample, Origin, SourceFile

SAID = "Gives how much room the shape takes up on the paper."
BODY = "    sides = shape.sides\n    return sides[0] * sides[1]\n"


@pytest.fixture
def bench(encoder: Encoder) -> Bench:
    return Bench(encoder, 512, 0)


def file(text: str, language: str = "Python", path: str = "src/shapes.py") -> SourceFile:
    return SourceFile(Origin("project", "c0ffee", path), language, text)


def python(said: str = SAID, body: str = BODY, head: str = "def area(shape):\n") -> SourceFile:
    return file(f'{head}    """{said}"""\n\n{body}')


def test_a_function_is_asked_for_by_its_docstring_and_explained_by_it(bench: Bench) -> None:
    code, explanation = Docstrings()(python(), bench)
    plain = f"def area(shape):\n{BODY}"
    assert code == InstructSample(python().origin, f"Write the Python function `area`: {SAID}", "def area(shape):", plain)
    assert explanation == InstructSample(python().origin, "Explain what this Python function does.", plain.rstrip(), f"{SAID}\n")
    assert Docstrings(directions=("explanation",))(python(), bench) == [explanation]


def test_a_method_is_cut_out_with_its_decorators_and_its_class_is_named(bench: Bench) -> None:
    head = "  /** Gives how much room {@code this} takes up on paper. */\n  @Override\n  public int area(\n      int w) {\n"
    text = f"class Shape {{\n{head}    int h = w;\n    return w * h;\n  }}\n}}\n"
    code, _ = Docstrings()(file(text, "Java", "src/Shape.java"), bench)
    assert isinstance(code, InstructSample)
    assert code.instruction == "Write the Java method `area` of `Shape`: Gives how much room this takes up on paper."
    assert code.context == "@Override\npublic int area(\n    int w)"
    assert code.answer == "@Override\npublic int area(\n    int w) {\n  int h = w;\n  return w * h;\n}\n"


REFUSED = [
    (python(body="    pass\n"), "no_body"),
    (python(body="    raise NotImplementedError\n"), "no_body"),
    (python(body="    # Nothing to do.\n    ...\n"), "no_body"),
    (python(body="    return shape.w\n"), "trivial_function"),
    (python(body="    x = 1\n" * 149), None),  # 150 lines with the head
    (python(body="    x = 1\n" * 150), "function_too_long"),
    (python(body="    x = 1\n    return x\n"), None),
    (python(head="def test_area(shape):\n"), "test_code"),
    (python(said=f"{SAID} TODO: all of it"), "unfinished"),
    (python(body=f"    # FIXME\n{BODY}"), "unfinished"),
    (python(said=":param shape: which one it is that is meant"), "docstring_of_tags"),
    (python(said="See :func:`other` for what this gives to whom"), "docstring_elsewhere"),
    (python(said=f"{SAID}\n\n    .. deprecated:: 2.0"), "docstring_elsewhere"),
    (python(said="one | two | three | four | five | six " + "+---" * 20), "docstring_not_prose"),
    (python(said="The area of the shape."), "trivial_docstring"),
    (python(said="Room, paper take up much ink."), None),
    (python(said="Room, paper take up much."), "trivial_docstring"),
    (python(said=(SAID + " ") * 50 + "a" * (3000 - 50 * len(SAID + " "))), None),
    (python(said=(SAID + " ") * 50 + "a" * (3001 - 50 * len(SAID + " "))), "docstring_too_long"),
    (file(f'def area(shape):\n    """{SAID}"""\n    print sides\n    return 1\n'), "does_not_parse"),
]


@pytest.mark.parametrize(("item", "reason"), REFUSED, ids=[f"{reason}-{number}" for number, (_, reason) in enumerate(REFUSED)])
def test_each_gate_has_its_own_reason(bench: Bench, item: SourceFile, reason: str | None) -> None:
    made = Docstrings()(item, bench)
    assert not isinstance(made, str)
    found = [each.reason if isinstance(each, Refused) else None for each in made]
    assert found == ([reason] if reason else [None, None])


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (file("x = 1\n", "Cobol"), "no_syntax_known"),
        (file("x = 1\n", path="tests/test_shapes.py"), "test_code"),
        (file("def area():\n    return 1\n"), "no_docstring"),
    ],
)
def test_a_file_without_any_has_a_reason(bench: Bench, item: SourceFile, reason: str) -> None:
    assert Docstrings()(item, bench) == reason


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Does it.\n\n.. versionadded:: 2.0\n    Long ago.\n\n.. versionchanged:: 3.0\n    Again.\n\nMore.", "Does it.\n\nMore."),
        ("Uses {@link Shape#area(int) the area} of {@code Box<T>} and {@link Shape}.", "Uses the area of Box<T> and Shape."),
        ("Does <b>it</b>.\n<p>More.\n@since 1.3", "Does it.\nMore."),
        ("Is a < b and c > d.", "Is a < b and c > d."),
        (":meta private:", ""),
    ],
)
def test_marks_for_tools_go(said: str, expected: str) -> None:
    assert tidied(said) == expected
