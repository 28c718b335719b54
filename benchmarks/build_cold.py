"""`finetune build` of a small repository from a cold start: seconds and CPU-seconds of the whole command, git and helpers included.

    python benchmarks/build_cold.py REPOSITORY [--megabytes 1] [--rounds 5] [--override data.miners=[fim]]

Files of the newest commit, taken in the order of a hash until they are so many megabytes, are committed to a repository of their own;
with --whole the repository itself is built, with all its history. Each round is a new process and a new run. What a second command finds
warm is warm here too: the disk's cache and compiled Python. Beside it: the same command that only checks the recipe, and Python alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAX_BYTES = 200_000
GIT = ["git", "-c", "user.name=one", "-c", "user.email=one@example.org", "-c", "safe.directory=*", "-c", "init.defaultBranch=main"]


def slice_of(repository: str, size: int, folder: Path) -> float:
    """Makes a repository of some files of another; says how many megabytes."""
    git = [*GIT, "-C", repository]
    entries = subprocess.run([*git, "ls-tree", "-r", "-z", "HEAD"], check=True, capture_output=True).stdout.split(b"\0")
    named = [entry.split(b"\t", 1) for entry in entries if entry.startswith(b"100")]
    total = 0
    for head, path in sorted(named, key=lambda each: hashlib.sha256(each[1]).digest()):
        content = subprocess.run([*git, "cat-file", "blob", head.split()[2].decode()], check=False, capture_output=True).stdout
        if 0 < len(content) <= MAX_BYTES and b"\0" not in content and total < size:
            place = folder / os.fsdecode(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            total += len(content)
    for command in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-q", "-m", "Add files"]):
        subprocess.run([*GIT, "-C", str(folder), *command], check=True)
    return total / 1e6


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds on the clock, and CPU-seconds of the process and its children."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("--megabytes", type=float, default=1)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--override", nargs="*", default=[])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        project = folder / "project"
        project.mkdir()
        size = 10**12 if arguments.whole else int(arguments.megabytes * 1e6)
        megabytes = slice_of(arguments.repository, size, project)
        if arguments.whole:
            project = Path(arguments.repository).resolve()
        (folder / "recipe.yaml").write_text(f"name: cold\nruns: {folder}/runs\ndata: {{repositories: [{project}]}}\n")
        finetune = [sys.executable, "-m", "finetune"]
        commands = {"python": [sys.executable, "-c", "pass"], "check": [*finetune, "check", "recipe.yaml", *arguments.override]}
        result: dict[str, object] = {"megabytes": round(megabytes, 2), "load": round(os.getloadavg()[0], 1)}
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in (*commands, "build")}
        for number in range(arguments.rounds + 1):  # the first one warms the disk's cache
            for name, command in (
                commands | {"build": [*finetune, "build", "recipe.yaml", f"name=cold{number}", *arguments.override]}
            ).items():
                rounds[name].append(timed(command, folder))
        report = json.loads((folder / "runs" / "cold1" / "data" / "report.json").read_text())
    for name, times in rounds.items():
        seconds, cpu = (sorted(column) for column in zip(*times[1:], strict=True))
        result[name] = {"seconds": [round(each, 2) for each in seconds], "cpu_seconds": [round(each, 2) for each in cpu]}
    result["files_kept"] = report["files"]["kept"]
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
