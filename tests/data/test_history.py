from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

from counting import counted

from finetune.data.policy import Licences
from finetune.data.repos import history, open_repository, read_changes
from finetune.data.repos.renames import Delta, renames
from finetune.data.tally import Tally
from finetune.records import Change

MIT = (Path(__file__).parent / "texts" / "mit.txt").read_text()
IDENTITY = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always"]


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, check=True, capture_output=True)
    return os.fsdecode(done.stdout).strip()


def changes_of(folder: Path, limit: int | None = None) -> tuple[list[Change], Tally]:
    tally = Tally()
    return list(counted(read_changes(open_repository(str(folder), "HEAD"), tally, limit=limit), tally)), tally


def test_only_commits_that_change_one_text_file_are_changes(make_repository):
    folder = make_repository(
        [
            ("Start", {"a.py": "x = 1\n", "b.py": "y = 1\n", "c.zzz": "one\n", "d.py": b"\xff\n", "e.py": "z = 1\n"}),
            ("Change one", {"a.py": "x = 2\n"}),
            ("Change two", {"a.py": "x = 3\n", "b.py": "y = 2\n"}),
            ("Nothing", {}),
            ("Add one", {"new.py": "n = 1\n"}),
            ("Delete one", {"new.py": None}),
            ("No language", {"c.zzz": "two\n"}),
            ("Not UTF-8", {"d.py": b"\xfe\n"}),
            ("Emptied", {"e.py": ""}),
            ("Filled again", {"e.py": "z = 2\n"}),
            ("Binary now", {"b.py": b"\0\0"}),
        ]
    )
    changes, tally = changes_of(folder)
    assert [(change.message, change.before, change.after, change.language) for change in changes] == [
        ("Change one\n", "x = 1\n", "x = 2\n", "Python")
    ]
    assert tally.dropped == Counter(
        {"many_files": 2, "no_file": 1, "added": 1, "deleted": 1, "unknown_language": 1, "not_utf8": 1, "empty": 2, "binary": 1}
    )
    assert tally.read == 11
    assert tally.lost == 0


def test_a_change_falls_under_the_licences_of_both_its_versions(make_repository):
    tag = "# SPDX-License-Identifier: {}\n"
    folder = make_repository(
        [
            ("Start", {"LICENSE": MIT, "a.py": tag.format("GPL-2.0-only") + "a = 1\n", "b.py": "b = 1\n"}),
            ("Free a", {"a.py": "a = 2\n"}),
            ("Set b", {"b.py": "b = 2\n"}),
        ]
    )
    found, _ = changes_of(folder)
    assert {change.origin.path: change.origin.license for change in found} == {"a.py": "GPL-2.0-only AND MIT", "b.py": "MIT"}


def test_a_change_of_which_one_version_is_reserved_is_not_permissive(make_repository):
    barred = "# Copyright ACME. Unauthorized copying of this file is strictly prohibited. Confidential.\n"
    folder = make_repository([("Start", {"LICENSE": MIT, "a.py": barred + "a = 1\n"}), ("Free a", {"a.py": "a = 1\n"})])
    found, _ = changes_of(folder)
    assert [Licences()(change) for change in found] == ["licence_not_permissive"]


def test_a_change_of_which_one_version_has_no_licence_has_none(make_repository):
    folder = make_repository([("Start", {"a.py": "a = 1\n"}), ("Free a", {"a.py": "# SPDX-License-Identifier: MIT\na = 1\n"})])
    found, _ = changes_of(folder)
    assert [change.origin.license for change in found] == [None]


def test_modes_links_and_types_are_no_changes_of_text(make_repository):
    folder = make_repository([("Start", {"a.py": "x = 1\n", "b.py": "y = 1\n"})])
    (folder / "link.py").symlink_to("a.py")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Link")
    (folder / "link.py").unlink()
    (folder / "link.py").symlink_to("b.py")
    git(folder, "commit", "-q", "-am", "Point elsewhere")
    git(folder, "update-index", "--chmod=+x", "a.py")
    git(folder, "commit", "-q", "-m", "Make it run")
    git(folder, "reset", "-q", "--hard")
    (folder / "b.py").unlink()
    (folder / "b.py").symlink_to("a.py")
    git(folder, "commit", "-q", "-am", "A file becomes a link")
    changes, tally = changes_of(folder)
    assert changes == []
    assert tally.dropped == {"many_files": 1, "added": 1, "symlink": 1, "mode_only": 1, "type_changed": 1}


def test_the_message_is_whole_and_may_look_like_a_delta(make_repository):
    message = ":100644 100644 a b M\n\n:body: with ünïcode\n\n- and a list"
    folder = make_repository([("Start", {"a.py": "x = 1\n"}), (message, {"a.py": "x = 2\n"})])
    (change,), _ = changes_of(folder)
    assert change.message == message + "\n"


def test_a_merge_is_not_looked_at(make_repository):
    folder = make_repository([("Start", {"a.py": "x = 1\n", "b.py": "y = 1\n"})])
    git(folder, "checkout", "-q", "-b", "side")
    (folder / "a.py").write_text("x = 2\n")
    git(folder, "commit", "-q", "-am", "On the side")
    git(folder, "checkout", "-q", "main")
    (folder / "b.py").write_text("y = 2\n")
    git(folder, "commit", "-q", "-am", "On main")
    git(folder, "merge", "-q", "--no-ff", "-m", "Merge side", "side")
    changes, tally = changes_of(folder)
    assert {change.message for change in changes} == {"On the side\n", "On main\n"}
    assert tally.read == 3


def test_the_boundary_of_a_shallow_clone_is_no_change(make_repository, tmp_path):
    folder = make_repository([(f"Step {i}", {"a.py": f"x = {i}\n"}) for i in range(5)])
    git(tmp_path, "clone", "-q", "--depth", "3", f"file://{folder}", "shallow")
    changes, tally = changes_of(tmp_path / "shallow")
    assert [change.message for change in changes] == ["Step 4\n", "Step 3\n"]
    assert tally.dropped == {"shallow_boundary": 1}


def test_the_limit_counts_commits_newest_first(make_repository):
    folder = make_repository([(f"Step {i}", {"a.py": f"x = {i}\n"}) for i in range(6)])
    changes, tally = changes_of(folder, limit=2)
    assert [change.message for change in changes] == ["Step 5\n", "Step 4\n"]
    assert tally.read == 2
    assert changes_of(folder, limit=0)[1].read == 0


def test_a_change_has_the_name_its_file_has_today(make_repository):
    text = "def one():\n    return 1\n"
    folder = make_repository(
        [
            ("Start", {"tool/core.py": text, "tool/io.py": "import os\n", "other.py": "o = 1\n"}),
            ("Change one in its old place", {"tool/core.py": text + "# more\n"}),
            ("Change the other", {"tool/io.py": "import sys\n"}),
            ("Move all", {"tool/core.py": None, "tool/io.py": None, "src/core.py": text + "# more\n", "src/io.py": "import re\n"}),
            ("A new file in the old place", {"tool/core.py": "fresh = 1\n"}),
            ("Change the new one", {"tool/core.py": "fresh = 2\n"}),
            ("Move on", {"src/core.py": None, "src/base.py": text + "# more\n", "other.py": "o = 2\n"}),
        ]
    )
    changes, _ = changes_of(folder)
    assert {change.message.strip(): change.origin.path for change in changes} == {
        "Change the new one": "tool/core.py",
        "Change the other": "src/io.py",
        "Change one in its old place": "src/base.py",
    }


def test_alike_files_are_paired_by_name_before_content():
    def gone(path: str, oid: str) -> Delta:
        return Delta("100644", "000000", oid, "0", "D", path)

    def new(path: str, oid: str) -> Delta:
        return Delta("000000", "100644", "0", oid, "A", path)

    found = renames(
        [gone("a/__init__.py", "e"), gone("b/one.py", "e"), new("c/__init__.py", "e"), new("c/one.py", "e"), new("x/y.py", "z")]
    )
    assert dict(found) == {"a/__init__.py": "c/__init__.py", "b/one.py": "c/one.py"}
    ambiguous = [gone("a/__init__.py", "1"), gone("b/__init__.py", "2"), new("c/__init__.py", "3"), new("d/__init__.py", "4")]
    assert dict(renames(ambiguous)) == {}


def test_batches_change_nothing_but_the_order(make_repository, monkeypatch):
    commits = [(f"Step {i}", {f"f{i % 3}.py": f"x = {i // 6}\n"}) for i in range(30)]
    folder = make_repository([("Start", {f"f{i}.py": "x = 99\n" for i in range(3)}), *commits])
    whole, _ = changes_of(folder)
    monkeypatch.setattr(history, "BATCH", 4)
    parts, tally = changes_of(folder)
    assert sorted(map(repr, parts)) == sorted(map(repr, whole))
    assert tally.lost == 0


def test_a_message_in_another_encoding_is_read_as_git_shows_it(make_repository):
    folder = make_repository([("Start", {"a.py": "x = 1\n"})])
    (folder / "a.py").write_text("x = 2\n")
    (folder / "message").write_bytes("Größer\n".encode("latin-1"))
    git(folder, "-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "a.py", "-F", "message")
    (change,), _ = changes_of(folder)
    assert change.message == "Größer\n"
