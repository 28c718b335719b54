"""What exporters work with: merging, copying, and the comparison in a fresh process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from finetune.base import BaseFolder
from finetune.cards import public_name
from finetune.data.repos import named_path
from finetune.errors import ExportError
from finetune.export import gguf
from finetune.export.checkpoint import check_sound, write_generation, write_small_files
from finetune.export.process import in_fresh_process
from finetune.export.tolerance import quantised_tolerance, tolerance
from finetune.export.trained import Found, find_others
from finetune.export.verify import MEASURED, Measured, Task, Weighted
from finetune.exporters import CONVERTED, Exporter, GgufFile, Merged, MergeReport
from finetune.files import READABLE, STAGED, write_json
from finetune.merge import BaseWeights, MergeOptions, Part, merge, output_bytes, read_adapter
from finetune.methods import BASE, CONFIG, WEIGHTS, seal_adapter
from finetune.run import Run
from finetune.tokenizer_files import write_tokenizer

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
        others = (Path(other.path).resolve() for exporter in run.recipe.export for other in exporter.others)
        self.private = (base.path, run.folder.resolve(), *repositories, *others)
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
        self._write_checkpoint(folder, options, self._parts(options))

    def _parts(self, options: Merged) -> list[Part]:
        own = Part(read_adapter(self.run.adapter), options.strength)
        return [own, *(Part(read_adapter(each.folder), each.public.weight) for each in self._others(options))]

    def _write_checkpoint(self, folder: Path, options: Merged, parts: Sequence[Part], *, copies: int = 1) -> None:
        """`copies`: so many times as much is to lie on the disk before it is gone."""
        weights = BaseWeights(self.base, self.run.recipe.model)
        twice = options.compare_bases and self.quantised
        room = output_bytes(weights, options.dtype) * (2 if twice else copies) + self._spool_bytes(options)
        require_room(folder, room, instead="write export.compare_bases=false, which needs half of it" if twice else None)
        how = MergeOptions(dtype=options.dtype, original=self._into(options) == "original" and self.quantised)
        written = merge(weights, parts, folder=folder, options=how)
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
        seal_adapter(folder)
        (folder / BASE).chmod(READABLE)
        write_tokenizer(folder, self.base)
        write_generation(folder, self.base)

    def write_gguf(self, folder: Path, options: GgufFile) -> None:
        """The base with the adapter merged into it as one GGUF file, or the two beside each other."""
        checkpoint = self._scratch / "checkpoint"
        checkpoint.mkdir()
        beside = options.form == "gguf_lora"
        # The file is as large as the checkpoint, and written while that is still there.
        self._write_checkpoint(checkpoint, options.merge, [] if beside else self._parts(options.merge), copies=2)
        name = self.run.recipe.name
        place = folder if options.type in CONVERTED else self._scratch
        steps: list[gguf.Step] = [
            gguf.write_model(checkpoint, place, self.base, kind=options.type, name=public_name(self.base) if beside else name)
        ]
        if beside:
            target = folder / gguf.ADAPTER
            steps.append(
                gguf.AdapterConversion(source=checkpoint, target=target, adapter=self.run.adapter, strength=options.strength, name=name)
            )
        gguf.run(steps, self._scratch)
        shutil.rmtree(checkpoint)
        if options.type not in CONVERTED:
            self._quantise(place / gguf.MODEL, folder, options)
        self.notes["gguf"] = {"type": options.type, "context": gguf.context_of(self.base)}
        for path in folder.iterdir():
            path.chmod(READABLE)

    def _quantise(self, model: Path, folder: Path, options: GgufFile) -> None:
        """Quantise `model`, which must be the adapter's equal first: else the loss of quantising would hide a mistake."""
        beside = [path for path in (folder / gguf.ADAPTER,) if path.exists()]
        for path in beside:
            model.with_name(path.name).symlink_to(path)
        self.verify(model.parent, options.model_copy(update={"type": "f16", "tolerance": None}))
        self.notes["before_quantising"] = self.notes.pop("verified")
        gguf.run([gguf.Quantisation(source=model, target=folder / gguf.MODEL, type=options.type)], self._scratch)
        model.unlink()

    def verify(self, folder: Path, options: Exporter) -> MergeReport:
        """Reload `folder` in a fresh process and compare. Raises ExportError beyond tolerance."""
        report = self.measure(folder, options)
        if not report.passed:
            reason = _reason(report)
            write_json(self.failed, {**asdict(report), "reason": reason})
            raise ExportError(f"{self.run.export}: {reason}; nothing was exported, the figures are in {self.failed}")
        self.notes["verified"] = {"dtype": report.dtype, "kl": report.kl, "top1": report.top1, "tolerance": report.tolerance}
        return report

    def measure(self, folder: Path, options: Exporter) -> MergeReport:
        """Reload `folder` in a fresh process and compare, whatever comes of it."""
        require_room(self._scratch, self._spool_bytes(options))
        merged = _merge_of(options)
        task = Task(
            model=self.run.recipe.model,
            adapter=self.run.adapter,
            strength=merged.strength if merged else 1.0,
            others=tuple(Weighted(adapter=each.folder, weight=each.public.weight) for each in self._others(options)),
            exported=folder,
            form=options.form,
            data=self.run.data,
            tokens=options.verify_tokens,
            scratch=self._scratch,
            context=gguf.context_of(self.base) if isinstance(options, GgufFile) else None,
        )
        in_fresh_process("finetune.export.verify", task, self._scratch)
        return self._report(Measured.model_validate_json((self._scratch / MEASURED).read_text(encoding="utf-8")), options)

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
        merged = _merge_of(options)
        quantised = self.run.recipe.model.quantization
        # int8 rounds activations as well, nf4 does not: its dequantised base is all there was
        same = merged is None or quantised == "none" or (quantised == "nf4" and self._into(merged) == "dequantized")
        formats = (*measured.computed_in, *((merged.dtype,) if merged else ()))
        allowed = options.tolerance or tolerance(formats, effect=measured.effect, same_base=same)
        dtype: str = merged.dtype if merged else "as trained"
        if isinstance(options, GgufFile):
            dtype = options.type
            if options.type not in CONVERTED:
                allowed = options.tolerance or max(allowed, quantised_tolerance(options.type, effect=measured.effect))
        self.notes |= {"computed_in": measured.computed_in, "infill": measured.infill}
        figures = {field: getattr(measured, field) for field in Measured.model_fields if field not in ("computed_in", "infill")}
        return MergeReport(
            base=self._into(merged) if merged and options.form != "gguf_lora" else "none",
            tolerance=allowed,
            passed=measured.kl <= allowed,
            dtype=dtype,
            strength=merged.strength if merged else 1.0,
            form=options.form,
            added=tuple(each.public for each in self._others(options)),
            **figures,
        )

    def _others(self, options: Exporter) -> list[Found]:
        return find_others(options.others, self.run.adapter, self.base)

    def _spool_bytes(self, options: Exporter) -> int:
        """Logits of all tokens compared, float32."""
        return 4 * self.base.vocabulary_size * max(options.verify_tokens, self.run.recipe.data.row_length)


def _merge_of(options: Exporter) -> Merged | None:
    """The merge an export is made from; None for an adapter by itself."""
    if isinstance(options, GgufFile):
        return options.merge
    return options if isinstance(options, Merged) else None


def _reason(report: MergeReport) -> str:
    lost = f"{report.kl / report.effect:.1%} of what the adapter changes" if report.effect > 0 else "though the adapter changes nothing"
    cure = "train again if the adapter's files were touched; else report it with the figures"
    if report.base == "original":
        cure = "write export.merge_base=dequantized"
    elif report.form in ("gguf", "gguf_lora") and report.dtype not in CONVERTED:
        cure = "write export.type=q8_0 or f16, which keep more"
    return f"the export is {report.kl:.2e} nats a token away from the adapter, {lost}; {report.tolerance:.2e} is allowed; {cure}"


def require_room(folder: Path, needed: int, *, instead: str | None = None) -> None:
    """Raises ExportError when the disk under `folder` has less than `needed` bytes; `instead`: a way to need less."""
    free = shutil.disk_usage(folder).free
    if free < needed + _MARGIN:
        raise ExportError(
            f"{folder.parent}: {free / 1e9:.3f} GB free, {(needed + _MARGIN) / 1e9:.3f} GB needed; "
            f"make room, or write runs=FOLDER on another disk{', or ' + instead if instead else ''}"
        )
