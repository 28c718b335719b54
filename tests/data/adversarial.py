"""A repository with everything a reader can stumble over, and what must become of each of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SENTINELS = "<|endoftext|> <fim_prefix> <fim_middle> <fim_suffix> <file_sep> <repo_name> <jupyter_code> <empty_output>"
SHAPES = 'class Rectangle:\n    """{note}"""\n\n    def area(self) -> float:\n        return self.width {sign} self.height\n'
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Numbers <jupyter_text>\n", "kept_notebook"]},
        {"cell_type": "code", "source": "print(6 * 7)  # <jupyter_output>", "outputs": [{"output_type": "stream", "text": "42\n"}]},
        {"cell_type": "code", "source": "answer = 6 * 7", "outputs": []},
    ],
    "metadata": {},
    "nbformat": 4,
}
ATTRIBUTES = (
    "made/** linguist-generated\nmade/by_hand.py -linguist-generated\nimported/** linguist-vendored=1\nvendor/ours/* -linguist-vendored\n"
)


def module(name: str) -> str:
    """A file that says once, in one line, that it is there, in words of its own: no near copy of another."""
    draws = random.Random(name)
    words = ["".join(draws.choice(pair) for pair in ("bdfgk", "aeiou", "lmnrs", "aeiou", "ptvz")) for _ in range(24)]
    lines = "".join(f"    {one} = {two} * {three}\n" for one, two, three in zip(words[::3], words[1::3], words[2::3], strict=True))
    return f"def {name}({words[1]}):\n{lines}    return {words[0]}\n"


@dataclass
class Adversary:
    """The repository; `kept` are marks of the files that must survive, the others are counted by reason."""

    folder: Path
    kept: dict[str, str] = field(default_factory=dict)
    files: Counter[str] = field(default_factory=Counter)
    commits: Counter[str] = field(default_factory=Counter)

    def git(self, *arguments: str, who: str = "Test") -> str:
        identity = ["-c", f"user.name={who}", "-c", f"user.email={who.lower()}@corp.test", "-c", "commit.gpgsign=false", "-c", "gc.auto=0"]
        done = subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True)
        return os.fsdecode(done.stdout).strip()

    def write(self, path: str | bytes, content: str | bytes) -> None:
        target = Path(os.fsdecode(os.fsencode(self.folder) + b"/" + os.fsencode(path)))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str, reason: str, *, who: str = "Test") -> None:
        """Everything there is as one commit, which is to be dropped for this reason ("" for a sample)."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, who=who)
        self.commits[reason] += 1

    def keep(self, path: str | bytes, *, mark: str = "", before: bytes = b"", line: str = "\n") -> None:
        name = mark or f"kept_{len(self.kept)}"
        self.write(path, before + module(name).replace("\n", line).encode())
        self.kept[name] = os.fsencode(path).decode("utf-8", "backslashreplace")

    def lose(self, path: str, content: str | bytes, reason: str) -> None:
        self.write(path, content)
        self.files[reason] += 1


def build_adversary(folder: Path) -> Adversary:
    """The whole repository, damaged at the end."""
    folder.mkdir()
    made = Adversary(folder)
    made.git("init", "-q", "-b", "main")
    _odd_names(made)
    _odd_contents(made)
    _attributes_and_wishes(made)
    made.write("src/edited.py", SHAPES.format(note="kept_edited", sign="+"))
    made.kept["kept_edited"] = "src/edited.py"
    made.write("src/gone.py", module("gone_first"))
    made.write("src/relay.py", module("relay_first"))
    made.commit("Add everything there is", "many_files")
    _links(made)
    _history(made)
    _damage(made)
    return made


def _odd_names(made: Adversary) -> None:
    for number in range(14):
        made.keep(f"src/plain{number}.py")
    for path in (
        "tab\there.py",
        "line\nbreak.py",
        "-n.py",
        'quote".py',
        "ünïcode 𝄞.py",
        "src/<fim_middle>.py",
        "<|endoftext|>/a.py",
        "*.py",
    ):
        made.keep(path)
    made.keep(b"caf\xe9.py")


def _odd_contents(made: Adversary) -> None:
    made.keep("src/crlf.py", line="\r\n")
    made.keep("src/bom.py", before=b"\xef\xbb\xbf")
    made.keep("src/sentinels.py", before=f"MARKS = '{SENTINELS}'\n".encode())
    made.write("notes.ipynb", json.dumps(NOTEBOOK))
    made.kept["kept_notebook"] = "notes.ipynb"
    made.lose("empty.py", "", "empty")
    made.lose("blank.py", " \n\n", "empty")
    made.lose("nul.py", b"x = '\0'\n", "binary")
    made.lose("utf16.py", "x = 1\n".encode("utf-16"), "utf16")
    made.lose("utf16be.py", b"\xfe\xff" + "x = 1\n".encode("utf-16-be"), "utf16")
    made.lose("latin1.py", "name = 'ünïcode'\n".encode("latin-1"), "not_utf8")
    made.lose("weights.py", "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 9\n", "lfs_pointer")
    made.lose("huge.py", "# a line\n" * 1_200_000, "too_large")
    made.lose("large.py", "# a line\n" * 120_000, "too_large")
    made.lose("src/torn.py", "".join(f"x{i} = {i * 7919 % 1000003}\n" for i in range(3000)), "unreadable")  # torn at the end
    made.lose("unknown.zzz", "what is it\n", "unknown_language")
    made.lose("broken.ipynb", '{"cells": 3}', "broken_notebook")


def _attributes_and_wishes(made: Adversary) -> None:
    made.lose(".gitattributes", ATTRIBUTES, "data_format")
    made.lose("sub/.gitattributes", "*.py linguist-generated=true\n", "data_format")
    made.lose("made/stub.py", module("stub"), "linguist_generated")
    made.keep("made/by_hand.py")
    made.lose(
        "torn/.gitattributes", "*.py linguist-generated\n" + "".join(f"{i * 7919 % 1000003}.x -diff\n" for i in range(3000)), "unreadable"
    )
    made.keep("torn/beside.py")  # what the torn one said is not known
    made.lose("sub/inner/stub.py", module("inner_stub"), "linguist_generated")
    made.lose("imported/lib.py", module("lib"), "linguist_vendored")
    made.lose("vendor/lib.py", module("vendored_lib"), "vendored")
    made.keep("vendor/ours/tool.py")
    made.lose("private/a.py", module("private_a"), "excluded")
    made.lose("asked/a.py", module("asked_a"), "opted_out_path")


def _links(made: Adversary) -> None:
    (made.folder / "link.py").symlink_to("src/plain0.py")
    made.files["symlink"] += 1
    made.commit("Add a link to the first of them", "added")
    made.git("update-index", "--add", "--cacheinfo", f"160000,{made.git('rev-parse', 'HEAD')},library")
    made.git("commit", "-q", "-m", "Add a library as a submodule")
    made.commits["added"] += 1
    made.files["submodule"] += 1
    # `git add -A` of the commits to come would take the submodule away, as its folder is not there.
    (made.folder / "library").mkdir()


def _history(made: Adversary) -> None:
    made.write("src/edited.py", SHAPES.format(note="kept_edited", sign="*"))
    made.commit(f"Multiply the sides of every rectangle\n\nAnd say {SENTINELS}", "")
    made.write("src/edited.py", SHAPES.format(note="kept_edited", sign="*") + "\n# <|endoftext|>\n")
    made.commit("Multiply the <fim_middle> sides of <|endoftext|> rectangles again", "")
    made.write("src/gone.py", module("gone_second"))
    made.commit("Change what is left of the second pressure", "missing")
    made.write("src/relay.py", module("relay_second"))
    made.commit("Change what is left of the relayed pressure", "opted_out_author", who="Jane")
    made.write("src/relay.py", module("kept_relay"))
    made.kept["kept_relay"] = "src/relay.py"
    made.commit("Change what is left of the pressure after her", "opted_out_author")
    made.lose("src/hers.py", module("hers"), "opted_out_author")
    made.commit("Add a file of her own to the project", "added", who="Jane")
    made.commit("Change nothing at all in this commit", "no_file")
    made.git("update-index", "--chmod=+x", "src/plain1.py")
    made.git("commit", "-q", "-m", "Let the second of them be run")
    made.commits["mode_only"] += 1
    (made.folder / "link.py").unlink()
    (made.folder / "link.py").symlink_to("src/plain2.py")
    made.git("commit", "-q", "-m", "Point the link to another one", "link.py")
    made.commits["symlink"] += 1
    made.write("latin1.py", "name = 'größer'\n".encode("latin-1"))
    made.git("commit", "-q", "-m", "Change a name in the old encoding", "latin1.py")
    made.commits["not_utf8"] += 1
    made.write("src/plain3.py", module(next(mark for mark, path in made.kept.items() if path == "src/plain3.py")) + "\n# more\n")
    made.git("commit", "-q", "-m", "Make it bigger than it was before", "src/plain3.py")
    _rewrite_message(made, "Größer als vorher und besser\n".encode("latin-1"))
    made.commits["message_not_utf8"] += 1


def _rewrite_message(made: Adversary, message: bytes) -> None:
    """The newest commit with other bytes for its message; git itself would make UTF-8 of them."""
    raw = subprocess.run(["git", "cat-file", "commit", "HEAD"], cwd=made.folder, check=True, capture_output=True).stdout
    content = raw.partition(b"\n\n")[0] + b"\n\n" + message
    command = ["git", "hash-object", "-t", "commit", "-w", "--stdin"]
    done = subprocess.run(command, cwd=made.folder, check=True, capture_output=True, input=content)
    made.git("update-ref", "refs/heads/main", done.stdout.decode().strip())


def _damage(made: Adversary) -> None:
    """One blob of the tree and one of the history is not there; two are torn."""
    made.files["missing"] += 1
    for revision in ("HEAD:src/gone.py", "HEAD~9:src/gone.py"):
        _object(made, revision).unlink(missing_ok=True)
    for revision in ("HEAD:src/torn.py", "HEAD:torn/.gitattributes"):
        damaged = _object(made, revision)
        damaged.chmod(0o644)
        damaged.write_bytes(damaged.read_bytes()[:2000])


def _object(made: Adversary, revision: str) -> Path:
    oid = made.git("rev-parse", revision)
    return made.folder / ".git/objects" / oid[:2] / oid[2:]
