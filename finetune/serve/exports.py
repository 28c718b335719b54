"""The exports of a run that hold the adapter it has now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune.base import read_base
from finetune.deploy.settings import REPORT
from finetune.errors import ExportError
from finetune.files import read_object
from finetune.methods import WEIGHTS, check_adapter_files
from finetune.run import Run


@dataclass(frozen=True, slots=True)
class Exported:
    """One folder of run/export; `context`: the tokens within which it answers as the adapter does, `computed_in`: the number format in
    which that was found, None in reports that do not say."""

    folder: Path
    form: str
    context: int
    computed_in: str | None = None


def form_to_serve(run: Run) -> str:
    """The kind of export to make for llama.cpp: an adapter's file, or the merged model where that can not hold what was learnt.

    Raises ExportError for a method that is never merged, since no engine takes its adapter either.
    """
    method = run.recipe.adapter
    if not method.merges:
        raise ExportError(
            f"{run.folder}: no engine takes a {method.kind} adapter, and it can not be merged into the weights; "
            f"ask it here, type: python -m app {run.folder}"
        )
    return "gguf_lora" if method.sums and not read_base(run.recipe.model).family.added else "gguf"


def exports_of(run: Run, name: str = "") -> list[Exported]:
    """Those of the adapter that lies in the run, by name; `name` picks one. Raises FinetuneError when that one is absent or stale."""
    run.require("train", error=ExportError)
    digest = check_adapter_files(run.adapter)["files"][WEIGHTS]
    found, stale = [], []
    there = [path for path in sorted(run.export.glob(f"*/{REPORT}")) if not path.parent.name.startswith(".")]
    for path in there:
        if name not in {"", path.parent.name}:
            continue
        report = read_object(path, "adapter_digest", "form", error=ExportError, cure=f"remove {path.parent} and type finetune export again")
        if report["adapter_digest"] != digest:
            stale.append(path.parent.name)
            continue
        context = report.get("gguf", {}).get("context", 2048)
        found.append(Exported(path.parent, report["form"], context, report.get("computed_in", (None, None))[1]))
    if not name:
        return found
    if name in stale:
        raise ExportError(f"{run.export / name}: made from an adapter that was trained anew since; type: finetune export {run.folder}")
    if name not in {one.folder.name for one in found}:
        names = ", ".join(path.parent.name for path in there) or "none"
        raise ExportError(f"--export {name}: {run.export} holds {names}; type: finetune export {run.folder} export={form_to_serve(run)}")
    return [one for one in found if one.folder.name == name]
