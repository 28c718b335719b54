"""A build in shards: megabytes a CPU-second by stage, one process and two, and the peak memory of a corpus and of one some times as large.

python benchmarks/scaling.py                                         # copies of this checkout, every word of each renamed
python benchmarks/scaling.py NAME=PATH NAME=PATH ... --first 2       # repositories; the small corpus is the first of them
python benchmarks/scaling.py NAME=PATH ... --corpora large --whole --rounds 3  # one process and two, by turns

Text is what the corpus' trees hold, binaries among it. CPU-seconds are of the process and its children, git's among them. "peak" is the
resident memory of the largest process, "own" what of it is no file: pages of mapped files count for the first, and the system takes them
back when it needs them. Every run is one of its own, from a cold start; seconds are those of the clock and say little on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
WORD = re.compile(r"[A-Za-z_]{3,}")
PAUSE = 0.02  # seconds between two looks at memory


def copies(count: int, folder: Path) -> list[str]:
    """Repositories of this checkout's Python files, in each of which every word ends on a number of its own: no two are alike."""
    found = []
    for number in range(count):
        place = folder / f"copy{number:03}"
        for path in sorted((ROOT / "finetune").rglob("*.py")):
            target = place / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(WORD.sub(rf"\g<0>_{number}", path.read_text(encoding="utf-8")), encoding="utf-8")
        identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
        for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "All of it"]):
            subprocess.run(["git", *arguments], cwd=place, check=True)
        found.append(f"{place.name}={place}")
    return found


def recipe_of(repositories: Sequence[str], runs: Path, options: argparse.Namespace, *, processes: int = 1) -> str:
    data = {"repositories": [*repositories], "shard_mb": options.shard_mb, "processes": processes, "miners": options.miners}
    return json.dumps({"name": "scaling", "runs": str(runs), "data": data | {"valid_share": options.valid_share}})


def by_stage(path: Path) -> None:
    """Builds in this process, a stage after the other; prints what each has cost."""
    from finetune.base import read_base
    from finetune.data.build import open_inputs, plan
    from finetune.data.build.stages import STAGES, perform, waiting
    from finetune.data.build.write import write
    from finetune.data.repos.trees import list_tree
    from finetune.recipe import load_recipe

    recipe = load_recipe(path)
    cost: dict[str, float] = {}
    with timed("open", cost):
        opened = open_inputs(recipe, read_base(recipe.model))
    with timed("cut", cost):
        job = plan(opened)
    for stage in STAGES:
        with timed(stage.name, cost):
            for shard in waiting(stage, job):
                perform(stage, job, opened.tools, shard)
    sizes = []
    for repository in job.repositories:
        with repository.store() as store:
            sizes.append(sum(entry.size or 0 for entry in list_tree(store, repository.commit)))
    scratch = sum(each.stat().st_size for each in job.folder.rglob("*") if each.is_file())
    with timed("write", cost):
        report = write(opened.run, job, opened.tools, opened.dialogues)
    found = {"text_mb": sum(sizes) / 1e6, "largest_mb": max(sizes) / 1e6, "repositories": len(sizes), "shards": len(job.shards)}
    out = sum(each.stat().st_size for each in opened.run.data.rglob("*") if each.is_file())
    made = {"files": report.files.read, "kept": report.files.kept, "samples": sum(sum(each.values()) for each in report.samples.values())}
    tokens = report.tokens.train + report.tokens.valid
    print(json.dumps({**found, **made, "tokens": tokens, "scratch_mb": scratch / 1e6, "out_mb": out / 1e6, "cpu_s": cost}))


@contextmanager
def timed(name: str, cost: dict[str, float]) -> Iterator[None]:
    begin = cpu(resource.RUSAGE_SELF) + cpu(resource.RUSAGE_CHILDREN)
    yield
    cost[name] = round(cpu(resource.RUSAGE_SELF) + cpu(resource.RUSAGE_CHILDREN) - begin, 2)
    print(f"{name}: {cost[name]} CPU-s, {int(status_of(os.getpid())['RssAnon'].split()[0]) // 1024} MB own", file=sys.stderr)


def cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


class Watch(threading.Thread):
    """Looks at the memory of a process and of the Python processes it has started, until it has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self.peak = self.own = 0

    def run(self) -> None:
        while self._process.poll() is None:
            for pid in (self._process.pid, *children(self._process.pid)):
                status = status_of(pid)
                if status.get("Name", "").startswith(("python", "finetune")):
                    self.peak = max(self.peak, int(status.get("VmHWM", "0").split()[0]))
                    self.own = max(self.own, int(status.get("RssAnon", "0").split()[0]))
            time.sleep(PAUSE)


def children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def status_of(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def measured(command: Sequence[str]) -> tuple[dict[str, Any], str]:
    """What a process and its children have cost, and what it printed."""
    before, begin = cpu(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        watch = Watch(process)
        watch.start()
        assert process.stdout is not None
        shown = process.stdout.read()
    watch.join()
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
    spent = {"cpu_s": cpu(resource.RUSAGE_CHILDREN) - before, "seconds": time.monotonic() - begin}
    return {**spent, "peak_mb": watch.peak / 1024, "own_mb": watch.own / 1024}, shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="*", metavar="NAME=PATH")
    parser.add_argument("--first", type=int, default=2, help="repositories, or copies, in the small corpus")
    parser.add_argument("--times", type=int, default=4, help="without repositories: how many times as large the other corpus is")
    parser.add_argument("--shard-mb", type=float, default=1.0)
    parser.add_argument("--valid-share", type=float, default=0.1)
    parser.add_argument("--miners", nargs="+", default=["fim"])
    parser.add_argument("--corpora", nargs="+", default=["small", "large"], choices=["small", "large"])
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--whole", action="store_true", help="one process by the command too, without a line of its stages")
    parser.add_argument("--rounds", type=int, default=1, help="builds of each kind, by turns")
    parser.add_argument("--stages-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stages_of:
        by_stage(options.stages_of)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        repositories = options.repositories or copies(options.first * options.times, folder)
        corpora = {"small": repositories[: options.first], "large": repositories}
        for name in options.corpora:
            for turn in range(options.rounds):
                for processes in options.processes:
                    built(name, corpora[name], folder / f"{name}{processes}-{turn}", options, processes=processes)


def built(name: str, corpus: Sequence[str], runs: Path, options: argparse.Namespace, *, processes: int) -> None:
    path = runs.with_suffix(".yaml")
    path.write_text(recipe_of(corpus, runs, options, processes=processes))
    if processes == 1 and not options.whole:
        spent, shown = measured([sys.executable, __file__, "--stages-of", str(path)])
        print(json.dumps({"corpus": name} | json.loads(shown)))
    else:
        spent, _ = measured([sys.executable, "-m", "finetune", "build", str(path)])
    print(json.dumps({"corpus": name, "processes": processes} | spent), flush=True)


if __name__ == "__main__":
    main()
