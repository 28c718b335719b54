from __future__ import annotations

import os
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from finetune.data.dates import seconds
from finetune.data.masks import Mask, fault_of
from finetune.recipe.sections import Moment

CASES: list[tuple[str, list[str], list[str]]] = [
    ("*.py", ["a.py", "src/a.py", "a.py/b.txt"], ["a.pyi", "py"]),
    ("/*.py", ["a.py"], ["src/a.py"]),
    ("docs/", ["docs/a.md", "src/docs/deep/b.md"], ["docs", "src/docs", "docs.md"]),
    ("docs", ["docs", "docs/a.md", "x/docs"], ["docs2/a.md"]),
    ("src/*.py", ["src/a.py"], ["src/b/c.py", "x/src/a.py"]),
    ("/src/**", ["src/a", "src/a/b"], ["src", "lib/src/a"]),
    ("**/api/*", ["api/a", "x/y/api/a"], ["api"]),
    ("a/**/b", ["a/b", "a/x/y/b"], ["a/xb", "ab"]),
    ("file?.txt", ["file1.txt"], ["file.txt", "file12.txt", "file/.txt"]),
    ("[a-c]*.py", ["b.py", "x/c1.py"], ["d.py"]),
    ("[!a-c].py", ["d.py"], ["a.py"]),
    (r"\*.py", ["*.py"], ["a.py"]),
    (r"\!odd", ["!odd"], ["odd"]),
    ("a.b", ["a.b"], ["axb"]),
    ("tab\there", ["tab\there"], ["tab here"]),
]


@pytest.mark.parametrize(("pattern", "inside", "outside"), CASES)
def test_a_mask_covers_what_gitignore_would(pattern: str, inside: list[str], outside: list[str]) -> None:
    mask = Mask((pattern,))
    assert [path for path in inside if not mask.covers(path)] == []
    assert [path for path in outside if mask.covers(path)] == []


def test_the_last_pattern_that_fits_decides() -> None:
    mask = Mask(("*.py", "!keep/", "keep/not.py"))
    assert [mask.covers(path) for path in ("a.py", "keep/a.py", "keep/not.py", "a.md")] == [True, False, True, False]
    assert not Mask().covers("a.py") and not Mask()


PARTS = st.sampled_from(["a", "b", "ab", "a.py", "*", "*.py", "?", "a*", "[ab]", "**"])
NAMES = st.lists(st.sampled_from(["a", "b", "ab", "a.py", "b.py"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=25)
@given(data=st.data())
def test_masks_agree_with_git(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    # One question to git for many patterns: each path as if it were not tracked, without a rule about parents that are left out.
    pattern = "/".join(data.draw(st.lists(PARTS, min_size=1, max_size=3))) + data.draw(st.sampled_from(["", "/"]))
    paths = sorted(set(data.draw(st.lists(NAMES, min_size=3, max_size=10))))
    folder = tmp_path_factory.mktemp("ignored")
    (folder / ".gitignore").write_text(pattern + "\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    command = ["git", "check-ignore", "--no-index", "--stdin", "-z"]
    done = subprocess.run(command, cwd=folder, input="\0".join(paths).encode(), capture_output=True, check=False)
    assert {path for path in paths if Mask((pattern,)).covers(path)} == set(filter(None, os.fsdecode(done.stdout).split("\0")))


@pytest.mark.parametrize("pattern", ["", "/", "!", "[z-a]"])
def test_a_pattern_that_means_nothing_is_a_fault(pattern: str) -> None:
    assert fault_of(pattern) is not None
    assert fault_of("docs/") is None


def test_a_day_begins_and_ends_in_utc() -> None:
    assert seconds("1970-01-02", end=False) == 86_400
    assert seconds("1970-01-02", end=True) == 2 * 86_400 - 1
    assert seconds("1970-01-02T01:00:00+01:00", end=True) == 86_400
    assert seconds("1970-01-02T00:00:00", end=False) == 86_400


def test_a_moment_is_kept_as_it_was_written() -> None:
    adapter = TypeAdapter(Moment)
    assert adapter.validate_python(date(2026, 1, 31)) == "2026-01-31"
    assert adapter.validate_python(datetime(2026, 1, 31, 12, tzinfo=UTC)) == "2026-01-31T12:00:00+00:00"
    with pytest.raises(ValidationError, match="a day such as 2026-01-31"):
        adapter.validate_python("yesterday")


def test_a_recipe_with_dates_and_masks_loads_as_it_was_saved(tmp_path: Path) -> None:
    from finetune.recipe import dump_recipe, parse_recipe

    recipe = parse_recipe("data: {at: 2026-01-31, since: 2025-06-01, include: ['src/'], exclude: ['*.md'], opt_out: [list.txt]}")
    assert (recipe.data.at, recipe.data.since) == ("2026-01-31", "2025-06-01")
    assert parse_recipe(dump_recipe(recipe)) == recipe
