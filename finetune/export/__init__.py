"""STEP export: a run's adapter in the form to deploy, reloaded in a fresh process and compared before anything is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.base import BaseFolder, read_base
from finetune.cards import READABLE, Facts, public_name, write_card
from finetune.errors import ExportError
from finetune.export.checkpoint import check_no_paths
from finetune.export.tools import Workshop
from finetune.exporters import MergeReport
from finetune.files import staged_folder, write_json
from finetune.methods import BASE, WEIGHTS
from finetune.recipe import Recipe
from finetune.run import Run, open_run

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["export", "table"]


def export(recipe: Recipe) -> MergeReport:
    """Fill run/export in the form the recipe names; it takes the place of an earlier export only when everything in it holds.

    Raises ExportError without an adapter, on another base than the trained one, for an adapter that can not be merged, without
    room on the disk, and for a result beyond tolerance: its figures are then kept in run/export_failed.json.
    """
    run = open_run(recipe)
    run.require("train", error=ExportError)
    if recipe.export.merges and not recipe.adapter.merges:
        raise ExportError(
            f"export.kind={recipe.export.kind}: a {recipe.adapter.kind} adapter can not be merged into the weights; "
            "write export=adapter to ship it beside its base model"
        )
    base = read_base(recipe.model)
    check_trained_on(run.adapter, base)
    with run.step("export") as notes:
        digest = _digest(run.adapter / WEIGHTS)
        with staged_folder(run.export) as folder, Workshop(run, base) as tools:
            report = recipe.export(tools, folder)
            write_card(folder, Facts(base, recipe, report, digest, _json(run, "build"), _json(run, "evaluate")))
            model = {"name": public_name(base), "revision": base.revision, "digest": base.digest}
            write_json(folder / "merge_report.json", {**asdict(report), "model": model, "adapter_digest": digest, **tools.notes})
            (folder / "merge_report.json").chmod(READABLE)
            check_no_paths(folder, tools.private)
        tools.failed.unlink(missing_ok=True)
        notes["inputs"] = {"base": base.digest, "adapter": digest}
    return report


def check_trained_on(adapter: Path, base: BaseFolder) -> None:
    """Raises ExportError unless the base's files are those the adapter was trained on."""
    path = adapter / BASE
    if not path.is_file():
        raise ExportError(f"{adapter}: {BASE} is missing, so the base it belongs to is not known; train again")
    trained_on: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if trained_on["digest"] == base.digest:
        return
    if trained_on["name"] in (str(base.path), base.name):
        raise ExportError(
            f"{base.path}: the base model's files have changed since {adapter} was trained on them; bring them back, or train again"
        )
    raise ExportError(
        f"{adapter}: trained on {trained_on['name']}, found model.path={base.name}; write the model.path of that very base, or train again"
    )


def _json(run: Run, step: str) -> Mapping[str, Any] | None:
    """The report of `step`, if it belongs to this very adapter."""
    path = run.data / "report.json" if step == "build" else run.report
    if not (run.done(step) and path.is_file()):
        return None
    report: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def _digest(path: Path) -> str:
    if not path.is_file():
        raise ExportError(f"{path}: the adapter's weights are missing; train again")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def table(report: MergeReport) -> Table:
    """The comparison with the adapter, for the terminal."""
    from rich.table import Table

    shown = Table("", "this export", title="export: reloaded in a fresh process, against the adapter", title_justify="left")
    if report.other is not None:
        shown.add_column(f"merged into {report.other.base}")
    reports = [report] if report.other is None else [report, report.other]
    for name, cells in _lines(reports):
        shown.add_row(name, *cells)
    return shown


def _lines(reports: list[MergeReport]) -> list[tuple[str, list[str]]]:
    return [
        ("merged into", [report.base for report in reports]),
        ("KL, nats a token", [f"{report.kl:.2e}" for report in reports]),
        ("KL allowed", [f"{report.tolerance:.2e}" for report in reports]),
        ("KL of base and adapter", [f"{report.effect:.2e}" for report in reports]),
        ("same most likely token", [f"{report.top1:.4f}" for report in reports]),
        ("largest logit difference", [f"{report.max_abs_logit_difference:.3g}" for report in reports]),
        ("loss: base", [f"{report.loss.base:.4f}" for report in reports]),
        ("loss: adapter", [f"{report.loss.adapter:.4f}" for report in reports]),
        ("loss: export", [f"{report.loss.exported:.4f}" for report in reports]),
        ("greedy answers equal", [f"{report.greedy_equal} of {report.greedy_prompts}" for report in reports]),
        ("compared on", [f"{report.tokens} tokens ({report.rows_from})" for report in reports]),
    ]
