"""The modified pairs of a repository's history, beside pygit2 and GitPython: the same pairs, CPU-seconds of process and children.

python -m venv peers && peers/bin/pip install pygit2 GitPython
python benchmarks/history_pairs.py REPOSITORY --peers peers/bin/python

A pair is a regular file before and after a commit without merges that modifies it, both sides UTF-8 text. Each reader runs in a process of
its own; "start_s" is the same over a repository of one commit, taken off in times_faster and left in times_faster_whole. One round more
than the timed ones sums the checksums of all pairs, which must agree.
"changes" is finetune's whole reader of changes (languages, licences, attributes; commits of one file alone), for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Pair = tuple[str, str, str]  # the commit, and the file before and after it
SAFE = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}  # GitPython calls git, which asks whose it is
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}  # modules are compiled once for all, as on any machine, not in each start
READERS = ("finetune", "pygit2", "gitpython", "changes")


def finetune_pairs(path: str) -> Iterator[Pair]:
    from collections import Counter

    from finetune.data.repos.history import Texts
    from finetune.data.repos.log import read_log
    from finetune.data.repos.opening import open_repository

    repository = open_repository(path, "HEAD")
    with repository.store() as store:
        found = [
            (delta.path, commit.oid, delta.before, delta.after)
            for commit in read_log(store, repository.commit)
            for delta in commit.deltas
            if delta.status == "M" and delta.new_mode.startswith("100") and delta.before != delta.after
        ]
        found.sort(key=lambda pair: pair[0])
        texts = Texts(store, Counter(oid for _, _, before, after in found for oid in (after, before)), 1 << 30)
        for _, commit, before, after in found:
            new, old = texts.take(after), texts.take(before)
            if new.reason is None and old.reason is None:
                yield commit, old.text, new.text


def pygit2_pairs(path: str) -> Iterator[Pair]:
    import pygit2

    pygit2.option(pygit2.GIT_OPT_SET_OWNER_VALIDATION, 0)
    repository = pygit2.Repository(path)
    for commit in repository.walk(repository.head.target, pygit2.GIT_SORT_NONE):
        if len(commit.parents) != 1:
            continue
        for delta in repository.diff(commit.parents[0], commit).deltas:
            if delta.status == pygit2.GIT_DELTA_MODIFIED and _regular(delta.old_file.mode) and _regular(delta.new_file.mode):
                before, after = delta.old_file.id, delta.new_file.id
                if before != after:
                    yield from _texts(str(commit.id), repository[before].data, repository[after].data)


def gitpython_pairs(path: str) -> Iterator[Pair]:
    import git

    repository = git.Repo(path)
    for commit in repository.iter_commits("HEAD", no_merges=True):
        if not commit.parents:
            continue
        for delta in commit.parents[0].diff(commit, no_renames=True):
            if delta.change_type == "M" and _regular(delta.a_mode) and _regular(delta.b_mode) and delta.a_blob != delta.b_blob:
                yield from _texts(commit.hexsha, delta.a_blob.data_stream.read(), delta.b_blob.data_stream.read())
    repository.close()


def changes(path: str) -> Iterator[Pair]:
    from finetune.data.repos import open_repository, read_changes
    from finetune.data.tally import Tally

    for change in read_changes(open_repository(path, "HEAD"), Tally(), limit=None):
        yield change.origin.commit, change.before, change.after


def _regular(mode: int) -> bool:
    return mode & 0o170000 == 0o100000


def _texts(commit: str, before: bytes, after: bytes) -> Iterator[Pair]:
    """The pair if both are text, by the rule of finetune.data.texts, said once more without it."""
    texts = []
    for content in (before, after):
        if b"\0" in content or content.startswith((b"\xff\xfe", b"\xfe\xff", b"version https://git-lfs.github.com/spec/")):
            return
        try:
            texts.append(content.removeprefix(b"\xef\xbb\xbf").decode())
        except UnicodeDecodeError:
            return
        if not texts[-1].strip():
            return
    yield commit, texts[0], texts[1]


def run_reader(name: str, path: str, *, check: bool) -> dict[str, Any]:
    """What one reader finds."""
    readers = {"finetune": finetune_pairs, "pygit2": pygit2_pairs, "gitpython": gitpython_pairs, "changes": changes}
    count = size = total = 0
    for commit, before, after in readers[name](path):
        count, size = count + 1, size + len(before) + len(after)
        if check:
            total = (total + zlib.crc32((commit + before).encode()) * (1 << 16) + zlib.crc32(after.encode())) % (1 << 64)
    return {"pairs": count, "million_characters": round(size / 1e6, 1), "sum": total}


def measure(name: str, path: str, python: str, *, check: bool) -> dict[str, Any]:
    """One reader in its own process: what it found, CPU-seconds with all children, wall seconds."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [python, __file__, path, "--reader", name, *(["--check"] if check else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | SAFE | COMPILED)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begun
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout) | {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has pygit2 and GitPython")
    parser.add_argument("--rounds", type=int, default=3, help="the least CPU-seconds of so many rounds count")
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = str(Path(options.repository).resolve())
    if options.reader:
        print(json.dumps(run_reader(options.reader, path, check=options.check)))
        return
    with tempfile.TemporaryDirectory() as folder:
        # GitPython takes a bare repository for one by its name alone: all read a borrowed one, of a name that it likes.
        subprocess.run(["git", "clone", "-q", "--bare", "--shared", path, f"{folder}/all.git"], check=True, env=os.environ | SAFE)
        subprocess.run(["git", "init", "-q", f"{folder}/empty"], check=True)
        identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "Empty"], check=True, cwd=f"{folder}/empty")
        report(path, f"{folder}/all.git", f"{folder}/empty", options)


def report(name_of: str, path: str, empty: str, options: argparse.Namespace) -> None:
    pythons = {name: options.peers if name in {"pygit2", "gitpython"} else sys.executable for name in READERS}
    sums = {measure(name, path, pythons[name], check=True)["sum"] for name in READERS[:3]}
    found: dict[str, dict[str, Any]] = {}
    for _ in range(options.rounds):
        for name in READERS:
            seen = measure(name, path, pythons[name], check=False)
            found[name] = min(seen, found.get(name, seen), key=lambda one: one["cpu_s"])
    for name in READERS:
        found[name]["start_s"] = min(measure(name, empty, pythons[name], check=False)["cpu_s"] for _ in range(options.rounds))
    same = len(sums) == 1 and len({found[name]["pairs"] for name in READERS[:3]}) == 1
    whole = {name: round(found[name]["cpu_s"] / found["finetune"]["cpu_s"], 1) for name in ("pygit2", "gitpython")}
    work = {name: found[name]["cpu_s"] - found[name]["start_s"] for name in READERS}
    ratios = {name: round(work[name] / work["finetune"], 1) for name in ("pygit2", "gitpython")}
    print(json.dumps({"repository": name_of, "readers": found, "same_pairs": same, "times_faster": ratios, "times_faster_whole": whole}))


if __name__ == "__main__":
    main()
