"""A run's folder: where things lie, what is done, what it was made with.

    runs/NAME/
        recipe.yaml        the resolved recipe; loading it gives an equal object
        manifest.json      recipe digest, versions, seed; per step: digest, commits read, times, peak memory
        data/              packed rows (Arrow), held-out files, report.json        step build
        checkpoints/       written aside and renamed, removed when training ends   step train
        adapter/           the trained adapter, metrics.jsonl, loss.png            step train
        report.json        base against tuned, with intervals                      step evaluate
        export/            what is deployed, merge_report.json                     step export

A step is done when the manifest says so with the digest of everything it depends on. Its results are written aside and
renamed before that mark, so a kill at any moment leaves a folder that goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError
from finetune.files import write_atomic, write_json
from finetune.recipe import Recipe, dump_recipe, load_recipe

STEPS = ("build", "train", "evaluate", "export")
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "build": ("seed", "model", "data"),
    "train": ("seed", "model", "data", "adapter", "train"),
    "evaluate": ("seed", "model", "data", "adapter", "train", "evaluate"),
    "export": ("seed", "model", "data", "adapter", "train", "export"),
}
_NEEDS = {"train": "build", "evaluate": "train", "export": "train"}
_RESULTS = {"build": "data", "train": "adapter", "evaluate": "report.json", "export": "export"}
_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "octotune")


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of one run and the recipe it belongs to."""

    folder: Path
    recipe: Recipe

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def export(self) -> Path:
        return self.folder / "export"

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    def digest(self, step: str) -> str:
        """SHA-256 over the parts of the recipe that `step` depends on."""
        sections = {name: self.recipe.model_dump(mode="json")[name] for name in _SECTIONS[step]}
        return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()

    def state(self) -> dict[str, Any]:
        """The manifest, or an empty one."""
        state: dict[str, Any] = json.loads(self.manifest.read_text()) if self.manifest.exists() else {"steps": {}}
        return state

    def mark(self, step: str) -> dict[str, Any]:
        """What the manifest says of `step`; empty when it was never done."""
        mark: dict[str, Any] = self.state()["steps"].get(step, {})
        return mark

    def done(self, step: str) -> bool:
        """Whether `step` has ended well for this very recipe, on the very result it stands on, and its result is there."""
        mark = self.mark(step)
        if mark.get("digest") != self.digest(step) or mark.get("stands_on") != self._stands_on(step):
            return False
        return (self.folder / _RESULTS[step]).exists()

    def _unmark(self, step: str) -> None:
        """Take the mark away: from here until the step has ended, what lies in its place proves nothing."""
        state = self.state()
        if state["steps"].pop(step, None) is not None:
            write_json(self.manifest, state)

    def _stands_on(self, step: str) -> str | None:
        need = _NEEDS.get(step)
        return None if need is None else self.mark(need).get("result")

    def require(self, step: str, *, error: type[FinetuneError]) -> None:
        """Raises `error` with the command to type when `step` is not done."""
        if self.done(step):
            return
        found = "was made by another recipe or from other data" if self.mark(step) else "has not been made"
        raise error(f"{self.folder}: the result of {step!r} {found}; type: finetune {step} {self.folder / 'recipe.yaml'}")

    @contextmanager
    def step(self, step: str) -> Iterator[dict[str, Any]]:
        """Times `step` and marks it done when the block ends well.

        What the block puts into the mapping is kept with the mark; `inputs` in it (commits read, digest of the base)
        names what the result was made from, so that later steps know a new result from an old one.
        """
        started, clock = time.gmtime(), time.monotonic()
        notes: dict[str, Any] = {}
        self._unmark(step)
        yield notes
        stands_on, digest = self._stands_on(step), self.digest(step)
        result = hashlib.sha256(json.dumps([digest, stands_on, notes.get("inputs")], sort_keys=True).encode())
        state = self.state()
        state |= {"recipe_digest": recipe_digest(self.recipe), "seed": self.recipe.seed, "versions": versions()}
        state["steps"][step] = {
            **notes,
            "digest": digest,
            "stands_on": stands_on,
            "result": result.hexdigest(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", started),
            "seconds": round(time.monotonic() - clock, 2),
            "peak_memory_bytes": peak_memory(),
        }
        write_json(self.manifest, state)


def run_of(recipe: Recipe) -> Run:
    """The run of a recipe, to look at; nothing is written."""
    return Run(Path(recipe.runs) / recipe.name, recipe)


def open_run(recipe: Recipe) -> Run:
    """The run of a recipe; its folder is made and the resolved recipe written into it."""
    folder = run_of(recipe).folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "recipe.yaml", dump_recipe(recipe))
    except OSError as error:
        raise FinetuneError(f"{folder}: can not be written ({error.strerror}); write runs=FOLDER with room to write") from error
    return Run(folder, recipe)


def load_run(folder: Path) -> Run:
    """The run that lies in `folder`."""
    path = folder / "recipe.yaml"
    if not path.exists():
        raise FinetuneError(f"{folder}: no run lies here (no recipe.yaml); write the folder of a run, for example runs/demo")
    recipe = load_recipe(path)
    return Run(folder, recipe)


def recipe_digest(recipe: Recipe) -> str:
    """SHA-256 of the resolved recipe."""
    return hashlib.sha256(json.dumps(recipe.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """The versions that can change a result."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def peak_memory() -> int:
    """The most memory this process has held, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def is_main_process() -> bool:
    """Whether this is the process that writes, under any launcher."""
    return int(os.environ.get("RANK", "0")) == 0
