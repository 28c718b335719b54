"""What exporters work with: merging, copying, and the comparison in a fresh process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from finetune.base import BaseFolder
from finetune.cards import public_name
from finetune.data.repos import named_path
from finetune.errors import ExportError
from finetune.export.checkpoint import READABLE, check_sound, write_small_files, write_tokenizer
from finetune.export.tolerance import tolerance
from finetune.export.verify import MEASURED, REFUSED, Measured, Task
from finetune.exporters import Exporter, Merged, MergeReport
from finetune.files import STAGED, write_json
from finetune.merge import BaseWeights, MergeOptions, merge, output_bytes, read_adapter
from finetune.methods import BASE, CONFIG, WEIGHTS
from finetune.run import Run

_MARGIN = 16 << 20  # bytes for everything that is no weight: tokenizer, card, reports


class Workshop:
    """The tools of one export (`exporters.Tools`), with a scratch folder that is gone after.

    `notes` goes into merge_report.json; `private` are folders of this machine that no exported file may name.
    """

    def __init__(self, run: Run, base: BaseFolder) -> None:
        self.run, self.base = run, base
        self.failed = run.folder / "export_failed.json"
        self.notes: dict[str, Any] = {}
        repositories = (named_path(path)[1].resolve() for path in run.recipe.data.repositories)
        self.private = (base.path, run.folder.resolve(), *repositories)
        self._scratch = run.folder.resolve() / f"{STAGED}verify"

    def __enter__(self) -> Workshop:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def quantised(self) -> bool:
        return self.run.recipe.model.quantization != "none"

    def merge(self, folder: Path, options: Merged) -> None:
        """Write a complete checkpoint, with the adapter merged into the weights, into `folder`."""
        adapter = read_adapter(self.run.adapter)
        weights = BaseWeights(self.base, self.run.recipe.model)
        require_room(folder, output_bytes(weights, options.dtype) + self._spool_bytes(options))
        how = MergeOptions(dtype=options.dtype, original=self._into(options) == "original" and self.quantised, strength=options.strength)
        written = merge(weights, adapter, folder=folder, options=how)
        write_small_files(folder, self.base, architecture=weights.architecture, dtype=options.dtype)
        check_sound(folder, tied=set(weights.tied), private=self.private)
        self.notes["weights"] = asdict(written)

    def copy_adapter(self, folder: Path) -> None:
        """Write the adapter and the tokenizer into `folder`, with the base named and not pointed at."""
        for name in (WEIGHTS, CONFIG, BASE):
            shutil.copyfile(self.run.adapter / name, folder / name)
            (folder / name).chmod(READABLE)
        name = public_name(self.base)
        for file, key in ((CONFIG, "base_model_name_or_path"), (BASE, "name")):
            values = json.loads((folder / file).read_text(encoding="utf-8"))
            write_json(folder / file, values | {key: name})
            (folder / file).chmod(READABLE)
        write_tokenizer(folder, self.base)

    def verify(self, folder: Path, options: Exporter) -> MergeReport:
        """Reload `folder` in a fresh process and compare. Raises ExportError beyond tolerance."""
        report = self.measure(folder, options)
        if not report.passed:
            reason = _reason(report)
            write_json(self.failed, {**asdict(report), "reason": reason})
            raise ExportError(f"{self.run.export}: {reason}; nothing was exported, the figures are in {self.failed}")
        return report

    def measure(self, folder: Path, options: Exporter) -> MergeReport:
        """Reload `folder` in a fresh process and compare, whatever comes of it."""
        merged = options if isinstance(options, Merged) else None
        task = Task(
            model=self.run.recipe.model,
            adapter=self.run.adapter,
            strength=merged.strength if merged else 1.0,
            exported=folder,
            form="merged" if merged else "adapter",
            data=self.run.data,
            tokens=options.verify_tokens,
            scratch=self._scratch,
        )
        measured = _in_fresh_process(task)
        return self._report(measured, options)

    def measure_other_base(self, options: Merged) -> MergeReport:
        """The same with the other merge base, in a scratch folder."""
        other = options.model_copy(
            update={"merge_base": "original" if self._into(options) == "dequantized" else "dequantized", "compare_bases": False}
        )
        folder = self._scratch / "other"
        folder.mkdir()
        notes = dict(self.notes)
        self.merge(folder, other)
        self.notes = notes
        report = self.measure(folder, other)
        shutil.rmtree(folder)
        return report

    def _into(self, options: Merged) -> Literal["dequantized", "original"]:
        """A base that was never quantised is the original one whatever the recipe says."""
        return options.merge_base if self.quantised else "original"

    def _report(self, measured: Measured, options: Exporter) -> MergeReport:
        merged = options if isinstance(options, Merged) else None
        quantised = self.run.recipe.model.quantization
        # int8 rounds activations as well, nf4 does not: its dequantised base is all there was
        same = merged is None or quantised == "none" or (quantised == "nf4" and self._into(merged) == "dequantized")
        formats = (*measured.computed_in, *((merged.dtype,) if merged else ()))
        allowed = options.tolerance or tolerance(formats, effect=measured.effect, same_base=same)
        self.notes["computed_in"] = measured.computed_in
        figures = {field: getattr(measured, field) for field in Measured.model_fields if field != "computed_in"}
        return MergeReport(
            base=self._into(merged) if merged else "none",
            tolerance=allowed,
            passed=measured.kl <= allowed,
            dtype=merged.dtype if merged else "as trained",
            strength=merged.strength if merged else 1.0,
            **figures,
        )

    def _spool_bytes(self, options: Exporter) -> int:
        """Logits of all tokens compared, float32."""
        return 4 * self.base.vocabulary_size * max(options.verify_tokens, self.run.recipe.data.row_length)


def _reason(report: MergeReport) -> str:
    lost = f"{report.kl / report.effect:.1%} of what the adapter changes" if report.effect > 0 else "though the adapter changes nothing"
    cure = (
        "write export.merge_base=dequantized"
        if report.base == "original"
        else "train again if the adapter's files were touched; else report it with the figures"
    )
    return f"the export is {report.kl:.2e} nats a token away from the adapter, {lost}; {report.tolerance:.2e} is allowed; {cure}"


def require_room(folder: Path, needed: int) -> None:
    """Raises ExportError when the disk under `folder` has less than `needed` bytes."""
    free = shutil.disk_usage(folder).free
    gigabytes = (needed + _MARGIN) / 1e9
    if free < needed + _MARGIN:
        raise ExportError(
            f"{folder.parent}: {free / 1e9:.1f} GB free, {gigabytes:.1f} GB needed; make room, or write runs=FOLDER on another disk"
        )


def _in_fresh_process(task: Task) -> Measured:
    """What `finetune.export.verify` measures, with the hub switched off."""
    path = task.scratch / "task.json"
    path.write_text(task.model_dump_json(), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "finetune.export.verify", str(path)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode == 2:
        raise ExportError((task.scratch / REFUSED).read_text(encoding="utf-8"))
    if done.returncode < 0:
        raise ExportError(
            f"the process that reloads the export was ended by signal {-done.returncode}, most often for lack of memory; "
            "free some, or write export.verify_tokens=512"
        )
    if done.returncode > 0:
        raise RuntimeError(f"the reload of the export failed:\n{done.stderr}")
    return Measured.model_validate_json((task.scratch / MEASURED).read_text(encoding="utf-8"))
