"""A sweep of methods beside the same runs one by one: CPU-seconds of the whole commands.

    python benchmarks/sweep_ratio.py FOLDER name=REPOSITORY [--part sweep|METHOD|told] [override ...]

Of recipes/methods-demo.yaml, with overrides for fewer steps or holes. `--part sweep` is one `finetune sweep`, a method's name its `build`,
`train` and `evaluate` as commands of their own; each adds its figures to FOLDER/ratio.json. Without a part all of them are run. At the
end stand the sums, the ratio, and whether the adapters of the two sides are the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.recipe import load_recipe

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "methods-demo.yaml"
VERBS = ("build", "train", "evaluate")


def main() -> None:
    options = _options()
    runs = {run["adapter"]: run for run in load_recipe(RECIPE).sweep.runs}
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    shared = [f"runs={folder}", f"data.repositories=[{options.repository}]", *options.overrides]
    for part in ("sweep", *runs) if options.part is None else (options.part,):
        if part == "sweep":
            shutil.rmtree(folder / "sweep", ignore_errors=True)
            _note(folder, part, {"sweep": timed("sweep", [*shared, "name=sweep"])})
        elif part in runs:
            shutil.rmtree(folder / part, ignore_errors=True)
            own = [f"{key}={value}" for key, value in runs[part].items()]
            _note(folder, part, {verb: timed(verb, [*shared, "sweep={}", *own, f"name={part}"]) for verb in VERBS})
    print(json.dumps(told(folder, [*runs]), indent=1))


def timed(verb: str, overrides: Sequence[str]) -> dict[str, float]:
    """Seconds on the clock, and CPU-seconds of the command and its children."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "finetune", verb, str(RECIPE), *overrides], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"cpu_s": round(cpu, 1), "s": round(seconds, 1), "load": round(os.getloadavg()[0], 1)}


def _note(folder: Path, part: str, found: dict[str, Any]) -> None:
    path = folder / "ratio.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | {part: found}, indent=1))


def told(folder: Path, methods: Sequence[str]) -> dict[str, Any]:
    """What FOLDER/ratio.json comes to; the ratio when every part is there."""
    found: dict[str, Any] = json.loads((folder / "ratio.json").read_text())
    if not {"sweep", *methods} <= found.keys():
        return found
    alone = {verb: round(sum(found[method][verb]["cpu_s"] for method in methods), 1) for verb in VERBS}
    together, apart = found["sweep"]["sweep"]["cpu_s"], sum(alone.values())
    trained = {path.read_bytes() for path in (folder / "sweep").glob("*/adapter/adapter_model.safetensors")}
    same = trained == {(folder / method / "adapter" / "adapter_model.safetensors").read_bytes() for method in methods}
    return {
        "parts": found,
        "sweep": together,
        "separate": round(apart, 1),
        **alone,
        "ratio": round(together / apart, 2),
        "same bytes": same,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("repository")
    parser.add_argument("--part")
    parser.add_argument("overrides", nargs="*")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    main()
