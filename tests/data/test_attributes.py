from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from finetune.data.filters import Generated, Vendored
from finetune.data.languages import language_said
from finetune.data.repos import open_repository, read_changes, read_files
from finetune.data.tally import Tally
from finetune.records import SourceFile

ROOT = """
made/** linguist-generated
made/by_hand.py -linguist-generated
*.min.js linguist-generated=false
imported/ linguist-vendored
imported/** linguist-vendored=true
vendor/ours/* linguist-vendored=false
*.inc linguist-language=PHP
*.rules linguist-language=common-lisp
*.py.in linguist-language=Python
odd.h linguist-language=Nonsense
[attr]tool linguist-generated linguist-vendored
both.py tool
"""


@pytest.fixture
def marked(make_repository) -> Path:
    paths = ("made/a.py", "made/by_hand.py", "app.min.js", "imported/b.py", "vendor/ours/c.py", "vendor/d.py", "sub/e.py", "sub/f/g.py")
    files: dict[str, str | bytes | None] = {path: f"# {path}\nvalue = 1\n" for path in (*paths, "both.py", "ünïcode.py", "sub/keep.py")}
    files |= {".gitattributes": ROOT, "sub/.gitattributes": "*.py linguist-generated\nkeep.py !linguist-generated\n"}
    files |= {"x.inc": "int x;\n", "y.rules": "(defrule x)\n", "odd.h": "int x;\n", "tool.py.in": "x = 1\n"}
    return make_repository([("Start", files), ("Edit", {"made/a.py": "# changed\nvalue = 2\n"})])


def read(folder: Path) -> dict[str, SourceFile]:
    return {file.origin.path: file for file in read_files(open_repository(str(folder), "HEAD"), Tally())}


def git(folder: Path, *arguments: str) -> str:
    return os.fsdecode(subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True).stdout).strip()


def test_what_the_repository_says_is_heard_with_negations_and_folders(marked: Path) -> None:
    said = {path: (file.origin.generated, file.origin.vendored) for path, file in read(marked).items()}
    assert said["made/a.py"] == (True, None)
    assert said["made/by_hand.py"] == (False, None)
    assert said["app.min.js"] == (False, None)
    assert said["imported/b.py"] == (None, True)
    assert said["vendor/ours/c.py"] == (None, False)
    assert said["vendor/d.py"] == (None, None)
    assert said["sub/e.py"] == said["sub/f/g.py"] == (True, None)
    assert said["sub/keep.py"] == (None, None)
    assert said["both.py"] == (True, True)


def test_git_itself_says_the_same_of_a_work_tree(marked: Path) -> None:
    files = read(marked)
    for path, file in files.items():
        for name, found in (("generated", file.origin.generated), ("vendored", file.origin.vendored)):
            value = git(marked, "check-attr", f"linguist-{name}", "--", path).rpartition(": ")[2]
            assert {"unspecified": None, "set": True, "true": True, "unset": False, "false": False}[value] == found, path


def test_a_bare_clone_says_the_same(marked: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(marked), "bare.git")
    assert {path: file.origin.generated for path, file in read(tmp_path / "bare.git").items()} == {
        path: file.origin.generated for path, file in read(marked).items()
    }


def test_the_filters_take_the_repositorys_word_over_their_guess(marked: Path) -> None:
    files = read(marked)
    generated = {path for path, file in files.items() if Generated()(file) == "linguist_generated"}
    assert generated == {"made/a.py", "sub/e.py", "sub/f/g.py", "both.py"}
    assert Generated()(files["app.min.js"]) is None
    vendored = {path: reason for path, file in files.items() if (reason := Vendored()(file))}
    assert vendored == {"imported/b.py": "linguist_vendored", "both.py": "linguist_vendored", "vendor/d.py": "vendored"}
    assert Vendored(paths=("vendor/ours",))(files["vendor/ours/c.py"]) == "vendored"


def test_a_language_that_is_stated_is_taken_where_it_is_known(marked: Path) -> None:
    found = {path: file.language for path, file in read(marked).items()}
    assert (found["x.inc"], found["y.rules"], found["odd.h"], found["tool.py.in"]) == ("PHP", "Common Lisp", "C", "Python")
    assert language_said("c++") == "C++" and language_said(None) is None


def test_a_change_is_marked_as_its_file_is_today(marked: Path) -> None:
    (change,) = read_changes(open_repository(str(marked), "HEAD"), Tally(), limit=None)
    assert change.origin.generated is True
    assert Generated()(change) == "linguist_generated"


def test_attributes_of_the_commit_count_not_those_of_the_work_tree_or_the_user(marked: Path) -> None:
    (marked / ".gitattributes").write_text("*.py linguist-generated\n")
    (marked / ".git/info").mkdir(exist_ok=True)
    (marked / ".git/info/attributes").write_text("*.py linguist-vendored\n")
    said = {path: (file.origin.generated, file.origin.vendored) for path, file in read(marked).items()}
    assert said["vendor/d.py"] == (None, None)


def test_attributes_that_are_not_there_say_nothing(marked: Path) -> None:
    oid = git(marked, "rev-parse", "HEAD:.gitattributes")
    (marked / ".git/objects" / oid[:2] / oid[2:]).unlink()
    said = {path: file.origin.generated for path, file in read(marked).items()}
    assert said["made/a.py"] is None
    assert said["sub/e.py"] is True
