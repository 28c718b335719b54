"""Memory of the stages of a whole corpus, of one as large and of others some times as large.

python benchmarks/corpus_memory.py --stages join --files 1000000 4000000
python benchmarks/corpus_memory.py --stages settle write --files 250000 1000000

What the stages of shards would have left is made up (tests/data/stand_in.py): of each file a sketch, a digest and a line of text, a third
of the files with a near-copy; of each file an instruction and a change. Every stage is a process of its own. "own" is the most of its
memory that is no file, looked at every 0.02 s; "peak" counts the pages of mapped files too, which the system takes back when it needs
them. "bytes" are what a file adds to "own", from one size to the next.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from scaling import measured, timed

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "data"))
FILE = 5120  # bytes of text that a file stands for
MADE = {"join": "clean", "settle": "teach", "write": "prove"}  # what is made up before each stage


def perform(stage: str, folder: Path, options: argparse.Namespace) -> None:
    """A stage, or what stands for those of shards."""
    import stand_in

    from finetune.base import read_base
    from finetune.data.build.job import Task
    from finetune.data.build.join import join
    from finetune.data.build.settle import settle_all
    from finetune.data.build.tools import open_tools
    from finetune.data.build.write import write
    from finetune.files import staged_folder
    from finetune.recipe import parse_recipe
    from finetune.run import open_run

    data = {"repositories": ["."], "shard_mb": options.shard_mb, "miners": ["docstrings", "commits"]}
    head = {"name": "made", "runs": str(folder), "model": {"path": str(ROOT / "finetune" / "demo")}}
    recipe, each = parse_recipe(json.dumps(head | {"data": data})), int(options.shard_mb * 1e6 / FILE)
    job = stand_in.job_of(recipe, folder / "job", shards=options.files[0] // each)
    if stage in MADE.values():
        getattr(stand_in, stage)(job, each)
        return
    tools = open_tools(recipe, read_base(recipe.model))
    with timed(stage, {}):
        if stage == "write":
            write(open_run(recipe), job, tools, [])
            return
        with staged_folder(job.place(stage)) as place:
            {"join": join, "settle": settle_all}[stage](Task(job, tools, place))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", nargs="+", type=int, default=[250_000, 1_000_000])
    parser.add_argument("--stages", nargs="+", choices=[*MADE], default=["join"])
    parser.add_argument("--shard-mb", type=float, default=64.0)
    parser.add_argument("--folder", type=Path, help="where scratch files lie, 2 to 4 kB a file of the corpus")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        perform(options.stage, options.folder, options)
        return
    last: dict[str, tuple[int, float]] = {}
    for files in options.files:
        with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
            before = ["--folder", scratch, "--shard-mb", str(options.shard_mb), "--files", str(files)]
            for stage in ["join", *options.stages] if "join" not in options.stages else options.stages:
                measured([sys.executable, __file__, "--stage", MADE[stage], *before])
                spent, _ = measured([sys.executable, __file__, "--stage", stage, *before])
                files_before, own = last.get(stage, (0, 0.0))
                grown = {"bytes": 1e6 * (spent["own_mb"] - own) / (files - files_before)} if files_before else {}
                print(json.dumps({"stage": stage, "files": files, **spent, **grown}), flush=True)
                last[stage] = files, spent["own_mb"]
                if stage == options.stages[-1]:
                    shutil.rmtree(Path(scratch) / "job")


if __name__ == "__main__":
    main()
