"""STEP export: a run's adapter in the form to deploy, reloaded in a fresh process and compared before anything is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.base import BaseFolder, read_base
from finetune.cards import Facts, check_card, check_terms, public_name, write_card
from finetune.deploy import llama
from finetune.deploy.settings import REPORT, write_settings
from finetune.errors import ExportError
from finetune.export.checkpoint import check_no_paths
from finetune.export.gguf.converter import require_installed as require_converter
from finetune.export.tools import Workshop
from finetune.export.trained import find_others
from finetune.exporters import Exporter, GgufFile, MergeReport
from finetune.files import READABLE, read_object, staged_folder, write_json
from finetune.methods import check_adapter_base
from finetune.recipe import Recipe
from finetune.records import REPORT_FORMAT
from finetune.run import Run, run_to_change

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["REPORT", "export", "table"]


def export(recipe: Recipe) -> tuple[MergeReport, ...]:
    """Fill a folder of run/export for each form the recipe names; it takes the place of an earlier one only when everything in it holds.

    Raises FinetuneError without an adapter, on another base than the trained one, for an adapter that can not be merged, without
    room on the disk, and for a result beyond tolerance: its figures are then kept in run/export_failed.json.
    """
    run = run_to_change(recipe)
    run.require("train", error=ExportError)
    _check_forms(recipe)
    base = read_base(recipe.model)
    digest = check_adapter_base(run.adapter, base)
    check_terms(base)
    others = {exporter.name: find_others(exporter.others, run.adapter, base) for exporter in recipe.export}
    with run.step("export") as notes, _kept_if_filled(run.export):
        reports = tuple(_export_one(run, base, exporter, digest) for exporter in recipe.export)
        _write_index(run, [exporter.name for exporter in recipe.export])
        notes["inputs"] = {"base": base.digest, "adapter": digest}
        if added := {name: [each.public.digest for each in found] for name, found in others.items() if found}:
            notes["inputs"]["added"] = added
    return reports


@contextmanager
def _kept_if_filled(folder: Path) -> Iterator[None]:
    """The folder, which does not stay behind empty when nothing could be put into it."""
    folder.mkdir(exist_ok=True)
    try:
        yield
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _export_one(run: Run, base: BaseFolder, exporter: Exporter, digest: str) -> MergeReport:
    with staged_folder(run.export / exporter.name) as folder, Workshop(run, base) as tools:
        report = exporter(tools, folder)
        write_card(folder, Facts(base, run.recipe, report, digest, _json(run, "build"), _json(run, "evaluate")))
        computed_in, infill = tools.notes["computed_in"][1], tools.notes["infill"]
        write_settings(folder, form=exporter.form, base=base, name=run.recipe.name, infill=infill, computed_in=computed_in)
        model = {"name": public_name(base), "revision": base.revision, "digest": base.digest}
        write_json(folder / REPORT, {**asdict(report), "model": model, "adapter_digest": digest, **tools.notes})
        (folder / REPORT).chmod(READABLE)
        check_no_paths(folder, tools.private)
        check_card(folder, base)
    tools.failed.unlink(missing_ok=True)
    return report


def _write_index(run: Run, names: Sequence[str]) -> None:
    """run/export/merge_report.json: the first form's figures, and every form's by its folder, for who looks in one place."""
    found = {name: read_object(run.export / name / REPORT, error=ExportError, cure="type finetune export again") for name in names}
    write_json(run.export / REPORT, {**found[names[0]], "exports": found})


def _check_forms(recipe: Recipe) -> None:
    """Raises ExportError for a form this method has no way to, without the engine that checks it, and for one named twice."""
    names = [exporter.name for exporter in recipe.export]
    for exporter in recipe.export:
        if exporter.merges and not recipe.adapter.merges:
            raise ExportError(
                f"export.kind={exporter.kind}: a {recipe.adapter.kind} adapter can not be merged into the weights; "
                "write export=adapter to ship it beside its base model"
            )
        if names.count(exporter.name) > 1:
            raise ExportError(f"export: {exporter.name} is named twice and would fill one folder; keep one")
        if isinstance(exporter, GgufFile):
            require_converter()
            if not llama.installed():
                raise ExportError(llama.MISSING)


def _json(run: Run, step: str) -> Mapping[str, Any] | None:
    """The report of `step`, if it belongs to this very adapter."""
    path = run.data / "report.json" if step == "build" else run.report
    if not (run.done(step) and path.is_file()):
        return None
    if step == "evaluate" and run.mark(step).get("inputs") != {"format": REPORT_FORMAT}:
        return None  # its verdicts are by other rules
    return read_object(path, error=ExportError, cure=f"remove {path} and type finetune {step} again")


def table(found: Sequence[MergeReport]) -> Table:
    """The comparison with the adapter, for the terminal; one column an export."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = "export: reloaded in a fresh process, against the adapter"
    shown = Table("", title=title, title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)  # five forms fit 80 columns
    reports = []
    for report in found:
        shown.add_column(report.form)
        reports.append(report)
        if report.other is not None:
            shown.add_column(f"{report.form}, into {report.other.base}")
            reports.append(report.other)
    for name, cells in _lines(reports):
        shown.add_row(name, *cells)
    return shown


def _lines(reports: list[MergeReport]) -> list[tuple[str, list[str]]]:
    return [
        ("merged into", [report.base for report in reports]),
        ("number format", [report.dtype for report in reports]),
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
