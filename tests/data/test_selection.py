from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from counting import counted

from finetune.data.opt_out import read_opt_out
from finetune.data.repos import open_repository, read_changes, read_files, select
from finetune.data.tally import Tally
from finetune.errors import DataError

JANE = ("Jane Doe", "jane@corp.test")
TEST = ("Test", "test@localhost")


def git(folder: Path, *arguments: str, who: tuple[str, str] = TEST, when: str = "") -> str:
    identity = ["-c", f"user.name={who[0]}", "-c", f"user.email={who[1]}", "-c", "commit.gpgsign=false"]
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when} if when else {}
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, env=os.environ | dates)
    return os.fsdecode(done.stdout).strip()


def commit(folder: Path, files: dict[str, str | None], message: str = "More", **who: Any) -> None:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink() if text is None else target.write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message, **who)


def selection(tmp_path: Path, text: str = "", **options: Any) -> Any:
    (tmp_path / "list").write_text(text)
    return select(**{"include": (), "exclude": (), "since": None, "opt_out": [str(tmp_path / "list")]} | options)


def read(folder: Path, chosen: Any) -> tuple[dict[str, str], Counter[str]]:
    """The texts of files by path, and the reasons for the others."""
    tally = Tally()
    found = counted(read_files(open_repository(str(folder), "HEAD"), tally, selection=chosen), tally)
    files = {file.origin.path: file.text for file in found}
    assert tally.lost == 0
    return files, tally.dropped


def changes(folder: Path, chosen: Any) -> tuple[list[str], Counter[str]]:
    """The subjects of changes, and the reasons against the other commits."""
    tally = Tally()
    found = counted(read_changes(open_repository(str(folder), "HEAD"), tally, limit=None, selection=chosen), tally)
    subjects = sorted(change.message.strip() for change in found)
    assert tally.lost == 0
    return subjects, tally.dropped


def test_masks_choose_files_and_changes_by_the_name_of_today(make_repository, tmp_path) -> None:
    folder = make_repository(
        [
            ("Start", {"src/a.py": "a = 1\n", "src/gen/b.py": "b = 1\n", "docs/c.md": "# C\n", "old/d.py": "d = 1\n"}),
            ("Change a", {"src/a.py": "a = 2\n"}),
            ("Change b", {"src/gen/b.py": "b = 2\n"}),
            ("Change d in its old place", {"old/d.py": "d = 2\n"}),
            ("Move d", {"old/d.py": None, "src/d.py": "d = 2\n"}),
        ]
    )
    chosen = selection(tmp_path, include=["src/"], exclude=["gen/"])
    assert read(folder, chosen) == ({"src/a.py": "a = 2\n", "src/d.py": "d = 2\n"}, Counter(not_included=1, excluded=1))
    assert changes(folder, chosen) == (["Change a", "Change d in its old place"], Counter(excluded=1, many_files=2))


def test_history_since_a_day_leaves_what_was_before(make_repository, tmp_path) -> None:
    folder = make_repository([])
    for day in range(1, 6):
        commit(folder, {"a.py": f"a = {day}\n"}, f"Day {day}", when=f"2025-03-0{day}T12:00:00+0000")
    assert changes(folder, selection(tmp_path, since="2025-03-04"))[0] == ["Day 4", "Day 5"]
    assert changes(folder, selection(tmp_path, since="0001-01-01")) == changes(folder, selection(tmp_path))
    assert changes(folder, selection(tmp_path, since="2025-03-04T12:00:00+00:00"))[0] == ["Day 4", "Day 5"], "the moment itself is in it"
    assert changes(folder, selection(tmp_path, since="2025-03-04T12:00:01+00:00"))[0] == ["Day 5"]


def test_a_commit_with_a_wrong_old_date_hides_none_behind_it(make_repository, tmp_path) -> None:
    folder = make_repository([])
    turns = [(1, {"old.py": "a = 1\n"}), (5, {"old.py": "a = 2\n"}), (2, {"old.py": None, "new.py": "a = 2\n"}), (6, {"new.py": "a = 3\n"})]
    for day, files in turns:
        commit(folder, files, f"Day {day}", when=f"2025-03-0{day}T12:00:00+0000")
    since, tally = selection(tmp_path, since="2025-03-04"), Tally()
    assert changes(folder, since) == (["Day 5", "Day 6"], Counter())
    found = read_changes(open_repository(str(folder), "HEAD"), tally, limit=1, selection=since)
    assert [change.message for change in found] == ["Day 6\n"] and tally.read == 1
    found = read_changes(open_repository(str(folder), "HEAD"), tally, limit=2, selection=since)
    assert {change.origin.path for change in found} == {"new.py"}, "the rename between them is followed though it is too old itself"


def test_an_owner_or_a_repository_that_opted_out_is_left_out_whole(make_repository, tmp_path) -> None:
    folder = make_repository([("Start", {"a.py": "a = 1\n", "b.py": "b = 1\n"}), ("Change a", {"a.py": "a = 2\n"})])
    git(folder, "remote", "add", "origin", "https://git.corp.test/Group/Sub/Tool.git")
    for entry in ("group", "sub", "Group/Sub", "owner: GROUP/sub"):
        reason = "repository" if entry == "Group/Sub" else "owner"
        files, dropped = read(folder, selection(tmp_path, entry + "\n"))
        if reason == "repository":  # two parts in one bare line are an owner and a repository
            assert len(files) == 2
        else:
            assert (files, dropped) == ({}, Counter(opted_out_owner=2))
    for entry in ("sub/tool", "group/sub/tool", "repository: Sub/Tool"):
        assert read(folder, selection(tmp_path, entry)) == ({}, Counter(opted_out_repository=2))
        assert changes(folder, selection(tmp_path, entry)) == ([], Counter(opted_out_repository=2))
    assert len(read(folder, selection(tmp_path, "tool\nsub/tools\n"))[0]) == 2
    git(folder, "remote", "set-url", "origin", "https://git.corp.test/Group/Inner/Sub/Tool.git")
    for entry in ("inner", "owner: inner/sub", "owner: group/inner"):  # groups in the middle of its path, by which it is not named
        assert read(folder, selection(tmp_path, entry)) == ({}, Counter(opted_out_owner=2)), entry


def test_a_new_name_in_the_recipe_does_not_bring_back_who_opted_out(make_repository, tmp_path) -> None:
    folder = make_repository([("Start", {"a.py": "a = 1\n"})])
    git(folder, "remote", "add", "origin", "git@git.corp.test:someone/tool.git")
    tally = Tally()
    assert list(read_files(open_repository(f"mine={folder}", "HEAD"), tally, selection=selection(tmp_path, "someone"))) == []
    assert tally.dropped == {"opted_out_owner": 1}


def test_paths_opt_out_everywhere_or_in_one_repository(make_repository, tmp_path) -> None:
    folder = make_repository(
        [("Start", {"legacy/a.py": "a = 1\n", "b.py": "b = 1\n", "c.py": "c = 1\n"}), ("Change b", {"b.py": "b = 2\n"})]
    )
    chosen = selection(tmp_path, "path: legacy/\npath: project: /b.py\npath: other: c.py\n")
    assert read(folder, chosen) == ({"c.py": "c = 1\n"}, Counter(opted_out_path=2))
    assert changes(folder, chosen) == ([], Counter(opted_out_path=1, many_files=1))


def test_what_an_author_wrote_is_left_out_and_what_others_wrote_stays(make_repository, tmp_path) -> None:
    folder = make_repository([("Start", {"ours.py": "a = 1\n", "touched.py": "t = 1\n", "last.py": "l = 1\n"})])
    commit(folder, {"hers.py": "h = 1\n"}, "Hers", who=JANE)
    commit(folder, {"hers.py": "h = 2\n"}, "Others change hers")
    commit(folder, {"touched.py": "t = 2\n"}, "She touches", who=JANE)
    commit(folder, {"touched.py": "t = 3\n"}, "Others go on from it")
    commit(folder, {"touched.py": "t = 4\n"}, "Others go on")
    commit(folder, {"last.py": "l = 2\n"}, "She is the last", who=JANE)
    commit(folder, {"hers.py": None, "moved.py": "h = 2\n"}, "Others move hers")
    commit(folder, {"ours.py": "a = 2\n"}, "Together\n\nCo-authored-by: J. Doe <JANE@corp.test>\n")
    commit(folder, {"ours.py": "a = 3\n"}, "Alone again")
    for entry in ("author: jane@corp.test", "author: Jane Doe <jane@corp.test>"):
        chosen = selection(tmp_path, entry)
        assert read(folder, chosen) == ({"ours.py": "a = 3\n", "touched.py": "t = 4\n"}, Counter(opted_out_author=2))
        assert changes(folder, chosen) == (["Others go on"], Counter(opted_out_author=6, added=1, many_files=2))
    assert len(read(folder, selection(tmp_path, "author: somebody else"))[0]) == 4


@pytest.mark.parametrize("entry", ["author: jane", "author: JANE  doe", "author: 12+jane@users.noreply.github.com"])
def test_names_and_addresses_are_compared_without_capitals(entry: str, tmp_path) -> None:
    (tmp_path / "list").write_text(entry + "  # by request\n")
    assert read_opt_out([str(tmp_path / "list")]).against_author("Jane Doe", "12+Jane@users.noreply.github.com") == "opted_out_author"


def test_a_file_that_moved_there_by_her_hand_is_not_hers(make_repository, tmp_path) -> None:
    folder = make_repository([("Start", {"a.py": "a = 1\n", "b.py": "b = 1\n"})])
    commit(folder, {"a.py": None, "moved.py": "a = 1\n"}, "She moves it", who=JANE)
    assert set(read(folder, selection(tmp_path, "author: jane doe"))[0]) == {"moved.py", "b.py"}


def test_the_boundary_of_a_shallow_clone_wrote_nothing(make_repository, tmp_path) -> None:
    folder = make_repository([("Start", {"a.py": "a = 1\n", "b.py": "b = 1\n"})])
    commit(folder, {"b.py": "b = 2\n"}, "Hers", who=JANE)
    commit(folder, {"a.py": "a = 2\n"}, "Ours")
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{folder}", "shallow")
    assert set(read(tmp_path / "shallow", selection(tmp_path, "author: jane doe"))[0]) == {"a.py", "b.py"}
    assert set(read(folder, selection(tmp_path, "author: jane doe"))[0]) == {"a.py"}


MISTAKES = {
    "owner:\n": "list:1: owner: names nothing",
    "\n# fine\nsome one\n": "list:3: found 'some one', no owner or repository",
    "jane@corp.test": "begin the line with owner:, repository:, path: or author:",
    "path: [z-a]": r"list:1: path '\[z-a\]' is no pattern",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_line_that_can_not_be_understood_is_named(text: str, tmp_path) -> None:
    with pytest.raises(DataError, match=MISTAKES[text]):
        selection(tmp_path, text)


def test_a_list_or_a_mask_that_can_not_be_used_says_what_to_write(tmp_path) -> None:
    with pytest.raises(DataError, match="data.opt_out: .*nowhere: No such file.*write the path of a text file"):
        selection(tmp_path, opt_out=[str(tmp_path / "nowhere")])
    (tmp_path / "latin").write_bytes(b"gr\xfc\xdfe\n")
    with pytest.raises(DataError, match="no UTF-8 text.*save it as UTF-8"):
        select(include=(), exclude=(), since=None, opt_out=[str(tmp_path / "latin")])
    with pytest.raises(DataError, match="data.exclude: '/' is empty; write a pattern"):
        selection(tmp_path, exclude=["/"])
