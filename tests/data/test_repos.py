from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from counting import counted
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.build import build
from finetune.data.repos import open_repositories, open_repository, read_changes, read_files
from finetune.data.tally import Tally
from finetune.data.texts import printable_path
from finetune.errors import DataError
from finetune.records import SourceFile

IDENTITY = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always"]
MIT = (Path(__file__).parent / "texts" / "mit.txt").read_text()
CODE = "def double(x):\n    return 2 * x\n"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, check=True, capture_output=True)
    return os.fsdecode(done.stdout).strip()


def read(path: Path | str, *, max_bytes: int = 10_000_000) -> tuple[dict[str, SourceFile], Tally]:
    tally = Tally()
    files = counted(read_files(open_repository(str(path), "HEAD"), tally, max_bytes=max_bytes), tally)
    return {file.origin.path: file for file in files}, tally


def commit_all(folder: Path, message: str = "more") -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


@pytest.fixture
def odd(make_repository) -> Path:
    """A repository with everything that is no plain text file, and some plain text files with odd names."""
    folder = make_repository(
        [
            (
                "Everything odd",
                {
                    "plain.py": CODE,
                    "same/again.py": CODE,
                    "tab\there.py": "a = 1\n",
                    "line\nbreak.py": "b = 1\n",
                    "-n.py": "c = 1\n",
                    'quote".py': "d = 1\n",
                    "ünïcode.py": "name = 'ünïcode'\n",
                    "crlf.py": b"x = 1\r\ny = 2\r\n",
                    "bom.py": b"\xef\xbb\xbfx = 2\n",
                    "empty.py": "",
                    "blank.py": " \n\n",
                    "nul.py": b"x = '\0'\n",
                    "late_nul.py": b"#" * 20_000 + b"\0",
                    "utf16.py": "x = 1\n".encode("utf-16"),
                    "latin1.py": "name = 'ünïcode'\n".encode("latin-1"),
                    "weights.py": "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 9\n",
                    "huge.py": "#" * 5000,
                    "unknown.zzz": "what is it\n",
                    "run": "#!/usr/bin/env python3\nprint(1)\n",
                },
            )
        ]
    )
    (folder / "link.py").symlink_to("plain.py")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.py")).write_text("e = 1\n")
    git(folder, "add", "-A")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{git(folder, 'rev-parse', 'HEAD')},library")
    git(folder, "commit", "-q", "-m", "A link, a submodule and a name in no encoding")
    return folder


def test_every_oddity_is_read_or_counted_with_its_reason(odd):
    files, tally = read(odd, max_bytes=4000)
    assert tally.dropped == Counter(
        {
            "symlink": 1,
            "submodule": 1,
            "empty": 2,
            "binary": 1,
            "utf16": 1,
            "not_utf8": 1,
            "lfs_pointer": 1,
            "too_large": 2,
            "unknown_language": 1,
        }
    )
    names = {"plain.py", "same/again.py", "tab\there.py", "line\nbreak.py", "-n.py", 'quote".py', "ünïcode.py", "crlf.py", "bom.py", "run"}
    assert set(files) == names | {"caf\\xe9.py"}
    assert tally.read == 22
    assert tally.lost == 0


def test_a_nul_byte_anywhere_makes_a_file_binary(odd):
    _, tally = read(odd)
    assert {"nul.py", "late_nul.py"} == {decision.origin.path for decision in tally.decisions if decision.reason == "binary"}


def test_text_is_kept_as_it_is_but_for_the_byte_order_mark(odd):
    files, _ = read(odd)
    assert files["crlf.py"].text == "x = 1\r\ny = 2\r\n"
    assert files["bom.py"].text == "x = 2\n"
    assert files["ünïcode.py"].text == "name = 'ünïcode'\n"


def test_every_path_can_be_written_as_utf8(odd):
    files, tally = read(odd)
    for path in [*files, *(decision.origin.path for decision in tally.decisions)]:
        path.encode()


def test_a_bare_clone_a_worktree_and_the_git_folder_give_the_same_files(odd, tmp_path):
    git(tmp_path, "clone", "-q", "--bare", str(odd), "any name")
    git(tmp_path, "clone", "-q", "--shared", str(odd), "borrower")
    git(odd, "worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    expected = {path: file.text for path, file in read(odd)[0].items()}
    for place in (tmp_path / "any name", tmp_path / "borrower", tmp_path / "other", odd / ".git"):
        assert {path: file.text for path, file in read(place)[0].items()} == expected


def test_a_sha256_repository_is_read_with_its_history(tmp_path):
    git(tmp_path, "init", "-q", "--object-format=sha256", "new")
    folder = tmp_path / "new"
    for text in ("x = 1\n", "x = 2\n"):
        (folder / "a.py").write_text(text)
        commit_all(folder)
    files, _ = read(folder)
    assert files["a.py"].text == "x = 2\n"
    assert len(files["a.py"].origin.commit) == 64
    repository = open_repository(str(folder), "HEAD")
    assert [change.before for change in read_changes(repository, Tally(), limit=None)] == ["x = 1\n"]


def test_a_missing_blob_costs_itself_alone_and_nothing_is_fetched(odd, tmp_path):
    git(odd, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--no-checkout", "--filter=blob:limit=12", f"file://{odd}", "partial")
    partial = tmp_path / "partial"
    before = git(partial, "count-objects", "-v")
    files, tally = read(partial)
    assert tally.dropped["missing"] >= 5
    assert "tab\there.py" in files
    assert tally.lost == 0
    assert git(partial, "count-objects", "-v") == before


def test_any_number_of_damaged_blobs_cost_themselves_alone(make_repository):
    count = 120
    torn = {f"a{number}.py": "".join(f"x{i} = {i * (number + 7919) % 1000003}\n" for i in range(200)) for number in range(count)}
    folder = make_repository([("Start", torn | {f"b{number}.py": f"b = {number}\n" for number in range(30)})])
    listed = subprocess.run(["git", "ls-tree", "-r", "HEAD"], cwd=folder, check=True, capture_output=True).stdout.decode().splitlines()
    for line in listed:
        if "\ta" in line:
            oid = line.split()[2]
            damaged = folder / ".git/objects" / oid[:2] / oid[2:]
            damaged.chmod(0o644)
            damaged.write_bytes(damaged.read_bytes()[:200])
    tally = Tally()
    assert len([*read_files(open_repository(str(folder), "HEAD"), tally)]) == 30
    assert tally.dropped == {"unreadable": count}


def test_a_damaged_blob_costs_itself_alone(make_repository):
    noise = "".join(f"x{i} = {i * 7919 % 1000003}\n" for i in range(3000))
    folder = make_repository([("Three files", {"a.py": "a = 1\n", "b.py": noise, "c.py": "c = 3\n"})])
    oid = git(folder, "rev-parse", "HEAD:b.py")
    damaged = folder / ".git/objects" / oid[:2] / oid[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:2000])
    files, tally = read(folder)
    assert set(files) == {"a.py", "c.py"}
    assert tally.dropped == {"unreadable": 1}


def test_the_callers_git_variables_and_settings_have_no_say(odd, tmp_path, monkeypatch, make_repository):
    other = make_repository([("Other", {"other.py": "z = 1\n"})], name="other")
    expected, _ = read(odd)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nowhere"))
    (odd / ".gitattributes").write_text("*.py filter=shout\n")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.quotepath=true' 'log.showroot=false'")
    found, _ = read(odd)
    assert found == expected


def test_reading_leaves_the_users_repository_as_it_was(odd):
    def state() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted((odd / ".git").rglob("*")) if path.is_file()}

    (odd / ".git/hooks").mkdir(exist_ok=True)
    hook = odd / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {odd}/ran\n")
    hook.chmod(0o755)
    before = state()
    read(odd)
    list(read_changes(open_repository(str(odd), "HEAD"), Tally(), limit=None))
    assert state() == before
    assert not (odd / "ran").exists()


def test_many_blobs_and_a_reader_that_stops_early_do_not_hang(make_repository):
    # 3,000 ids are far more than a pipe holds, and so is what git answers.
    folder = make_repository([("Start", {"a.py": "a = 1\n"})])
    blobs = [f"M 100644 inline f{i}.py\ndata {len(f'x = {i:04}') * 200}\n" + f"x = {i:04}" * 200 + "\n" for i in range(3000)]
    head = "commit refs/heads/main\ncommitter Test <test@localhost> 0 +0000\ndata 4\nMany\nfrom refs/heads/main^0\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=(head + "".join(blobs)).encode(), check=True)
    repository = open_repository(str(folder), "HEAD")
    assert next(read_files(repository, Tally())).origin.path == "a.py"
    assert sum(1 for _ in read_files(repository, Tally())) == 3001


def test_a_repository_is_named_after_its_remote_so_that_clones_agree(make_repository):
    folder = make_repository([("One", {"a.py": "a = 1\n"})])
    assert open_repository(str(folder), "HEAD").name == "project"
    git(folder, "remote", "add", "origin", "https://bob:hidden@git.corp.test:8443/group/sub/tool.git")
    assert open_repository(str(folder), "HEAD").name == "sub/tool"
    for url, name in [
        ("git@git.corp.test:team/tool.git", "team/tool"),
        ("ssh://git@git.corp.test:22/team/tool", "team/tool"),
        ("../tool.git", "tool"),
        ("file:///srv/git/tool.git/", "tool"),
        ("/srv/tool/.git", "tool"),
    ]:
        git(folder, "remote", "set-url", "origin", url)
        assert open_repository(str(folder), "HEAD").name == name
    assert open_repository(f"mine={folder}", "HEAD").name == "mine"


def test_repositories_come_sorted_by_name_and_two_of_one_name_are_refused(make_repository, tmp_path):
    first = make_repository([("One", {"a.py": "a = 1\n"})], name="zebra")
    second = make_repository([("One", {"a.py": "a = 1\n"})], name="ant")
    assert [one.name for one in open_repositories([str(first), str(second)], "HEAD")] == ["ant", "zebra"]
    with pytest.raises(DataError, match="same name; write name=path"):
        open_repositories([str(first), str(first)], "HEAD")
    assert [one.name for one in open_repositories([str(first), f"b={first}"], "HEAD")] == ["b", "zebra"]


def test_a_path_that_is_no_repository_says_what_to_write(tmp_path, make_repository):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="no git repository; write the path of a work tree or a bare repository"):
        open_repository(str(tmp_path / "folder"), "HEAD")
    with pytest.raises(DataError, match="nothing is there"):
        open_repository(str(tmp_path / "gone"), "HEAD")
    with pytest.raises(DataError, match="a file is there"):
        open_repository(str(tmp_path / "file"), "HEAD")
    folder = make_repository([("One", {"src/a.py": "a = 1\n"})])
    with pytest.raises(DataError, match=f"inside the repository {folder}.*write {folder}"):
        open_repository(str(folder / "src"), "HEAD")


def test_an_empty_repository_and_an_unknown_ref_are_told_apart(tmp_path, make_repository):
    git(tmp_path, "init", "-q", "void")
    with pytest.raises(DataError, match="an empty repository"):
        open_repository(str(tmp_path / "void"), "HEAD")
    folder = make_repository([("One", {"a.py": "a = 1\n"})])
    with pytest.raises(DataError, match="no commit is called 'mian'; did you mean main?"):
        open_repository(str(folder), "mian")
    assert open_repository(str(folder), "main").commit == git(folder, "rev-parse", "HEAD")


def test_an_option_in_place_of_a_ref_is_no_option(make_repository):
    folder = make_repository([("One", {"a.py": "a = 1\n"})])
    with pytest.raises(DataError, match="no commit is called"):
        open_repository(str(folder), "--all")


def test_a_path_with_odd_characters_is_opened(make_repository, tmp_path):
    folder = make_repository([("One", {"a.py": "a = 1\n"})], name='we"ird: na\\me')
    files, _ = read(folder)
    assert set(files) == {"a.py"}


GPL = """This program is free software; you can redistribute it and/or modify
it under the terms of the GNU General Public License as published by
the Free Software Foundation; either version 2 of the License, or
(at your option) any later version.

This program is distributed in the hope that it will be useful,
but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
GNU General Public License for more details.
"""


def test_each_file_carries_the_licence_it_falls_under(make_repository):
    folder = make_repository(
        [
            (
                "Licences",
                {
                    "LICENSE": MIT,
                    "a.py": "a = 1\n",
                    "deep/er/b.py": "b = 1\n",
                    "own/COPYING": "All rights reserved. Ask us.\n",
                    "own/c.py": "c = 1\n",
                    "own/d.py": "# SPDX-License-Identifier: GPL-2.0-only OR MIT\nd = 1\n",
                    "lib/old/MIT-LICENSE": MIT,
                    "lib/thing/GPL-LICENSE.txt": GPL,
                    "lib/thing/e.py": "e = 1\n",
                },
            )
        ]
    )
    files, _ = read(folder)
    found = {path: file.origin.license for path, file in files.items() if path.endswith(".py")}
    assert found == {
        "a.py": "MIT",
        "deep/er/b.py": "MIT",
        "own/c.py": "LicenseRef-unknown",
        "own/d.py": "GPL-2.0-only OR MIT",
        "lib/thing/e.py": "GPL-2.0-or-later",
    }


@given(st.lists(st.sampled_from([b"\\", b"x", b"5c", b"e9", b"\xe9", "é".encode(), b"a/"]), max_size=8), st.integers(0, 7))
def test_no_two_paths_are_written_alike(parts: list[bytes], place: int) -> None:
    path = b"".join(parts)
    other = b"".join([*parts[:place], b"\\xe9", *parts[place:]])
    bytewise = b"".join([*parts[:place], b"\xe9", *parts[place:]])
    written = [printable_path(each) for each in {path, other, bytewise}]
    assert len({*written}) == len({path, other, bytewise})
    assert re.sub(rb"\\x(5c|[89a-f][0-9a-f])", lambda match: bytes.fromhex(match[1].decode()), printable_path(path).encode()) == path


def test_a_byte_and_the_letters_that_spell_it_are_two_files(make_repository, recipe_of) -> None:
    files = {f"src/m{number}.py": f"def run_{number}(x):\n    return x + {number}\n" for number in range(12)}
    folder = make_repository([("Add it", files)])
    for name, text in ((b"caf\xe9.py", "def one(a):\n    return a\n"), (b"caf\\xe9.py", "def two(b, c):\n    return b - c\n")):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Add two more")
    report = build(recipe_of(folder))
    assert report.files.kept == sum(report.sides.values()) == sum(report.languages.values()) == 14
