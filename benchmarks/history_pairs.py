"""The modified pairs of a repository's history, beside pygit2 and GitPython: the same pairs, CPU-seconds of process and children.

python -m venv peers && peers/bin/pip install pygit2 GitPython
python benchmarks/history_pairs.py REPOSITORY --peers peers/bin/python

A pair is a regular file before and after a commit without merges that modifies it, both sides UTF-8 text. Each reader runs in a process of
its own, all three in the peers' Python: ours needs nothing but the standard library. "start_s" is the same over a repository of one commit,
taken off in times_faster and left in times_faster_whole. One more round
sums the checksums of all pairs, which must agree.
"changes" is finetune's whole reader of changes (languages, licences, attributes; commits of one file alone), in this Python.
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
from pathlib import Path
from typing import Any

SAFE = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}  # GitPython calls git, which asks whose it is
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}  # modules are compiled once for all, as on any machine, not in each start
HERE = {"PYTHONPATH": str(Path(__file__).parent.parent)}
READERS = ("finetune", "pygit2", "gitpython", "changes")


def measure(name: str, path: str, python: str, *, check: bool) -> dict[str, Any]:
    """One reader in its own process: what it found, CPU-seconds with all children, wall seconds."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [python, str(Path(__file__).with_name("history_readers.py")), path, name, *(["--check"] if check else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | SAFE | COMPILED | HERE)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begun
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    pairs, size, total = map(int, done.stdout.split())
    found = {"pairs": pairs, "million_characters": round(size / 1e6, 1), "sum": total}
    return found | {"cpu_s": round(cpu, 3), "wall_s": round(wall, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has pygit2 and GitPython")
    parser.add_argument("--rounds", type=int, default=3, help="the least CPU-seconds of so many rounds count")
    options = parser.parse_args()
    path = str(Path(options.repository).resolve())
    with tempfile.TemporaryDirectory() as folder:
        # GitPython takes a bare repository for one by its name alone: all read a borrowed one, of a name that it likes.
        subprocess.run(["git", "clone", "-q", "--bare", "--shared", path, f"{folder}/all.git"], check=True, env=os.environ | SAFE)
        subprocess.run(["git", "init", "-q", f"{folder}/empty"], check=True)
        identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "Empty"], check=True, cwd=f"{folder}/empty")
        report(path, f"{folder}/all.git", f"{folder}/empty", options)


def report(name_of: str, path: str, empty: str, options: argparse.Namespace) -> None:
    pythons = {name: sys.executable if name == "changes" else options.peers for name in READERS}
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
