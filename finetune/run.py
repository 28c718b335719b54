"""A run's folder: where things lie, what is done, what it was made with.

    runs/NAME/
        recipe.yaml           the resolved recipe; loading it gives an equal object
        manifest.json         recipe digest, versions, seed; per step: digest, commits read, times, peak memory
        data/                                                                            step build
            train/ valid/         packed rows (Arrow)
            samples.parquet       a line for each sample: its row, miner, paths, licences
            decisions.parquet     a line for everything read: kept or left out, and why
            decisions.jsonl       what was left out of it
            clusters.jsonl        files that are nearly the same, and which one stayed
            refused.jsonl         what was tried for instructions and became none
            redactions.jsonl      what was replaced, for review, without the values
            heldout.jsonl         the files that gave no training sample
            report.json           what was read, kept and dropped; samples, tokens, hashes
            README.md             the data card: report.json for readers and model hubs
            exports/NAME/         the samples for another trainer, where asked for
        checkpoints/          written aside and renamed, removed when training ends      step train
        adapter/                                                                         step train
            adapter_model.safetensors, adapter_config.json    as peft reads them
            base.json             the base it belongs to: name, revision, digest
            recipe.yaml, metrics.jsonl, loss.png, work.png    how it was trained
        answers.jsonl         a line for each hole: both answers and their scores        step evaluate
        report.png            what tuning changed, with intervals, as a plot             step evaluate
        report.json           base against tuned, with intervals                         step evaluate
        export/               what is deployed                                           step export
            merge_report.json     the figures of every form in it
            merged/ ...           a folder for each form: weights or adapter, tokenizer, README.md, LICENSE, its merge_report.json
        export_failed.json    the figures of an export that was beyond tolerance         step export
        bad_batch.json        the rows that a training stopped at, until one ends well   step train
        error.txt             the traceback of a run that failed in a sweep              sweep
        cluster/STAGE/        logs of a build's tasks, where a cluster made it        step build
        .lock                 who writes the run now; gone when nobody does
        .partial-*            what is being written; gone when it has its name

A step is done when the manifest says so with the digest of everything it depends on. Its results are written aside and
renamed before that mark, so a kill at any moment leaves a folder that goes on where it was. One process at a time writes
(of those that a launcher starts together, the first); who only reads waits for nobody.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from finetune.base import read_base
from finetune.errors import FinetuneError
from finetune.files import read_object, write_atomic, write_json
from finetune.lock import hold, holder, refusal
from finetune.recipe import Recipe, dump_recipe, load_recipe
from finetune.recipe.digest import recipe_digest, step_digest

RECIPE = "recipe.yaml"
STEPS = ("build", "train", "evaluate", "export")
_NEEDS = {"train": "build", "evaluate": "train", "export": "train"}
_RESULTS = {"build": "data", "train": "adapter", "evaluate": "report.json", "export": "export"}
_HEAVY = (".safetensors", ".gguf", ".arrow")  # what a result is worth nothing without
_FORGOTTEN = "bring the file back, or remove it, and build the run anew"
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
        return step_digest(self.recipe, step)

    def make(self) -> None:
        """Make the folder, where there is none yet."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FinetuneError(f"{self.folder}: can not be written ({error.strerror}); write runs=FOLDER with room to write") from error

    def state(self) -> dict[str, Any]:
        """The manifest, or an empty one."""
        if not self.manifest.exists():
            return {"steps": {}}
        state = read_object(self.manifest, "steps", error=FinetuneError, cure=_FORGOTTEN)
        if not isinstance(state["steps"], dict) or not all(isinstance(mark, dict) for mark in state["steps"].values()):
            raise FinetuneError(f"{self.manifest}: its 'steps' are not the marks of steps; {_FORGOTTEN}")
        return state

    def mark(self, step: str) -> dict[str, Any]:
        """What the manifest says of `step`; empty when it was never done."""
        mark: dict[str, Any] = self.state()["steps"].get(step, {})
        return mark

    def done(self, step: str) -> bool:
        """Whether `step` has ended well for this very recipe, on the very result it stands on, and its result is there."""
        mark = self.mark(step)
        if mark.get("stands_on") != self._stands_on(step):
            return False
        if mark.get("digest") != self.digest(step) and not (self._moved(step) and self._on_its_base(step)):
            return False
        return (self.folder / _RESULTS[step]).exists() and not self._lost(step)

    def _moved(self, step: str) -> bool:
        """Whether the recipe is that of `step` but for the place of the base."""
        mark = self.mark(step)
        return mark.get("digest") != self.digest(step) and mark.get("anywhere") == step_digest(self.recipe, step, anywhere=True)

    def _on_its_base(self, step: str) -> bool:
        """Whether the base that the recipe names has the files that `step` was made with."""
        made = self.mark("build" if step == "build" else "train").get("inputs", {})
        return bool(made.get("base") == read_base(self.recipe.model).digest)

    def _lost(self, step: str) -> list[str]:
        """The files of weights or rows that `step` made and that are gone."""
        return sorted({*self.mark(step).get("files", ())} - {*self._files(step)})

    def _files(self, step: str) -> list[str]:
        """The files of weights or rows in the result of `step`, by path in the run."""
        found = (
            path for path in (self.folder / _RESULTS[step]).rglob("*") if path.suffix in _HEAVY and path.is_file() and path.stat().st_size
        )
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def _unmark(self, step: str) -> None:
        """Take the mark away: from here until the step has ended, what lies in its place proves nothing."""
        state = self.state()
        if state["steps"].pop(step, None) is not None:
            write_json(self.manifest, state)

    def _stands_on(self, step: str) -> str | None:
        need = _NEEDS.get(step)
        return None if need is None else self.mark(need).get("result")

    def require(self, step: str, *, error: type[FinetuneError]) -> None:
        """Raises `error` with the command to type when `step` is not done, or with who is doing it."""
        if self.done(step):
            return
        writer = holder(self.folder)
        if writer is not None and writer.doing == step:
            raise error(refusal(self.folder, writer))
        if self._moved(step) and not self._on_its_base(step):
            raise error(
                f"{self.folder}: the result of {step!r} was made with other files than lie in model.path={self.recipe.model.path}; "
                "write model.path of that very base"
            )
        found = "was made by another recipe, from other data or by another version" if self.mark(step) else "has not been made"
        if (lost := self._lost(step)) and self._is_kept(step):
            found = f"lacks {self.folder / lost[0]}"
        again = str(self.folder) if self._is_kept(step) else "with the recipe and the settings typed here"
        raise error(f"{self.folder}: the result of {step!r} {found}; type: finetune {step} {again}")

    def _is_kept(self, step: str) -> bool:
        """Whether the recipe in the folder asks for the same result of `step` as this one."""
        try:
            return load_run(self.folder).digest(step) == self.digest(step)
        except FinetuneError:
            return False

    @contextmanager
    def step(self, step: str, *, held: bool = False) -> Iterator[dict[str, Any]]:
        """Times `step` and marks it done when the block ends well. Raises FinetuneError when another process writes the run.

        With it the recipe is accepted and written into the folder, so whatever could refuse it comes before the block; for what takes
        long the caller holds the folder meanwhile (`held`). What the block puts into the mapping is kept with the mark; `inputs` in it
        (commits read, digest of the base) names what the result was made from, so that later steps know a new result from an old one.
        """
        started, clock = time.gmtime(), time.monotonic()
        notes: dict[str, Any] = {}
        self.make()
        with nullcontext() if held else hold(self.folder, doing=step):
            _write_recipe(self)
            self._unmark(step)
            yield notes
            times = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", started), "seconds": round(time.monotonic() - clock, 2)}
            self._mark(step, notes | times)

    def _mark(self, step: str, notes: Mapping[str, Any]) -> None:
        stands_on, digest = self._stands_on(step), self.digest(step)
        result = hashlib.sha256(json.dumps([digest, stands_on, notes.get("inputs")], sort_keys=True).encode())
        state = self.state()
        state |= {"recipe_digest": recipe_digest(self.recipe), "seed": self.recipe.seed, "versions": versions()}
        state["steps"][step] = {
            **notes,
            "digest": digest,
            "anywhere": step_digest(self.recipe, step, anywhere=True),
            "stands_on": stands_on,
            "result": result.hexdigest(),
            "peak_memory_bytes": peak_memory(),
            "files": self._files(step),
        }
        write_json(self.manifest, state)


def run_of(recipe: Recipe) -> Run:
    """The run of a recipe, to look at; nothing is written."""
    return Run(Path(recipe.runs) / recipe.name, recipe)


def open_run(recipe: Recipe) -> Run:
    """The run of a recipe; its folder is made and the resolved recipe written into it, by the process that writes.

    Raises FinetuneError when another process writes the run by another recipe.
    """
    run = run_of(recipe)
    if is_main_process():
        run.make()
        if _recipe_text(run) != dump_recipe(recipe):
            with hold(run.folder, doing="recipe.yaml"):
                _write_recipe(run)
    return run


def run_to_change(recipe: Recipe) -> Run:
    """The run of a recipe that a step is about to refuse or to accept; nothing is written.

    Raises FinetuneError when another process writes the run by another recipe.
    """
    run = run_of(recipe)
    writer = holder(run.folder) if is_main_process() else None
    if writer is not None and _recipe_text(run) != dump_recipe(recipe):
        raise FinetuneError(refusal(run.folder, writer))
    return run


def _recipe_text(run: Run) -> str | None:
    path = run.folder / RECIPE
    return path.read_text(encoding="utf-8") if path.exists() else None


def _write_recipe(run: Run) -> None:
    """By who holds the folder."""
    text = dump_recipe(run.recipe)
    if _recipe_text(run) != text:
        write_atomic(run.folder / RECIPE, text)


def load_run(folder: Path, overrides: Sequence[str] = ()) -> Run:
    """The run that lies in `folder`; overrides win over what its recipe says."""
    path = folder / RECIPE
    if not path.exists():
        raise FinetuneError(f"{folder}: no run lies here (no recipe.yaml); write the folder of a run, for example runs/demo")
    recipe = load_recipe(path, overrides)
    return Run(folder, recipe)


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
    """The most memory that this process, or one of those it started that have ended, has held, in bytes."""
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most if sys.platform == "darwin" else most * 1024


def is_main_process() -> bool:
    """Whether this is the process that writes, under any launcher."""
    return int(os.environ.get("RANK", "0")) == 0
