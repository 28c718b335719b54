"""Changes as numbered lines."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finetune.data.line_diff import apply, diff, numbered
from finetune.errors import DataError

texts = st.text(st.sampled_from("aab \n\n\n\r\té€😀\u2028\x0c-+1"), max_size=60)
BEFORE = "def area(w, h):\n    return w + h\n"


@given(before=texts, after=texts)
@example("", "a")
@example("a", "")
@example("", "\n")
@example("a\r\nb\r\n", "a\nb\n")
@example("a\nb", "a\nb\n")
@example("a\n" * 1200, "b\n" + "a\n" * 1201)
def test_a_change_applied_to_the_old_file_is_the_new_file(before: str, after: str) -> None:
    assert apply(before, diff(before, after)) == after


@given(before=texts, lines=st.lists(st.text(st.sampled_from("ab "), max_size=5), min_size=1, max_size=5), data=st.data())
def test_insertions_shift_no_number(before: str, lines: list[str], data: st.DataObject) -> None:
    old = before.split("\n")
    place = data.draw(st.integers(0, len(old)))
    change = "".join(f"+ {place:3d} {line}\n" for line in lines)
    assert apply(before, change) == "\n".join([*old[:place], *lines, *old[place:]])


def test_the_form_is_this() -> None:
    assert numbered(BEFORE) == "  1 def area(w, h):\n  2     return w + h\n  3 "
    after = "import math\n\ndef area(w, h):\n    return w * h\n"
    assert diff(BEFORE, after) == "+   0 import math\n+   0 \n-   2     return w + h\n+   2     return w * h\n"
    assert diff(BEFORE, BEFORE) == ""
    assert numbered("\n" * 1000).splitlines()[-2:] == ["1000 ", "1001 "]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("-   2     return w + h", "cut short"),
        ("+   2     return w * h\n+   2 ", "cut short"),
        ("-   2     return w - h\n", "line 2 of the file is"),
        ("-   2 return w + h\n", "line 2 of the file is"),
        ("-   4 \n", "lines 1 to 3"),
        ("+   4 x\n", "lines 1 to 3"),
        ("-   0 x\n", "lines 1 to 3"),
        ("- 2     return w + h\n", "three places"),
        ("-  02     return w + h\n", "three places"),
        ("2     return w * h\n", "three places"),
        ("*   2 x\n", "three places"),
        ("+   2\n", "three places"),
        ("+   ٢ x\n", "three places"),
        ("\n", "three places"),
        ("```\n+   2 x\n```\n", "three places"),
        ("+   2 x\n+   1 y\n", "again, or behind a later one"),
        ("+   2 x\n-   2     return w + h\n", "again, or behind a later one"),
        ("-   2     return w + h\n-   2     return w + h\n", "again, or behind a later one"),
        ("-   1 def area(w, h):\n-   2     return w + h\n-   3 \n", "takes every line out"),
    ],
)
def test_a_change_of_another_form_is_an_error_that_says_where(change: str, fault: str) -> None:
    with pytest.raises(DataError, match=f"line diff.*{fault}"):
        apply(BEFORE, change)
