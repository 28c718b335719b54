"""The model card and the licence files of an export: what it is, what it was made from, what was measured, what is owed.

A figure that was not measured is said to be so.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finetune.base import DEMO, BaseFolder
from finetune.data.licences import UNKNOWN, is_licence_file, licence_of_file
from finetune.errors import ExportError
from finetune.exporters import MergeReport
from finetune.recipe import Recipe

READABLE = 0o644
_TERMS = ("LICENSE", "LICENCE", "COPYING", "NOTICE")
OPENRAIL = "bigcode-openrail-m"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a card tells; `data` and `evaluation` are a run's two report.json files, None where there is none for this adapter."""

    base: BaseFolder
    recipe: Recipe
    report: MergeReport
    adapter_digest: str
    data: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None


def write_card(folder: Path, facts: Facts) -> None:
    """README.md, and the licence files that the base asks for."""
    licence = write_terms(folder, facts.base)
    path = folder / "README.md"
    path.write_text(card(facts, licence), encoding="utf-8")
    path.chmod(READABLE)


def public_name(base: BaseFolder) -> str:
    """The base's name for other machines: its hub id, or the name of its folder; never a path."""
    if from_hub(base):
        return base.name
    return "octotune-demo" if base.path == DEMO else base.path.name


def from_hub(base: BaseFolder) -> bool:
    """Whether the base lies in the hub's cache, in a folder called after its commit."""
    return base.path.parent.name == "snapshots"


def licence_of(base: BaseFolder) -> str:
    """The licence that the base's own card names, else the known one whose text lies beside it, else its family's."""
    card = base.path / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    if text.startswith("---\n"):
        header = yaml.safe_load(text.split("---\n")[1])
        named = header.get("license_name") or header.get("license") if isinstance(header, dict) else None
        if named:
            return str(named)
    found = {licence_of_file(path.read_text(encoding="utf-8", errors="replace")) for path in _terms(base) if is_licence_file(path.name)}
    return found.pop().lower() if len(found) == 1 and UNKNOWN not in found else base.family.licence


def _terms(base: BaseFolder) -> list[Path]:
    """The licence and notice files beside the base's weights."""
    return sorted(path for path in base.path.iterdir() if path.is_file() and path.name.upper().startswith(_TERMS))


def write_terms(folder: Path, base: BaseFolder) -> str:
    """The base's licence files into `folder`; gives the licence's name. Raises ExportError where the terms are not known.

    A family whose licence has a public address is referred to by it when the base's folder holds no copy.
    """
    licence = licence_of(base)
    copied = [path.name for path in _terms(base)]
    for name in copied:
        shutil.copyfile(base.path / name, folder / name)
    if all(name.upper().startswith("NOTICE") for name in copied):
        if licence != base.family.licence or base.family.licence_url is None:
            raise ExportError(
                f"{base.path}: no LICENSE beside the base's weights ({licence}); copy the base model's LICENSE file there and export again"
            )
        (folder / "LICENSE").write_text(_by_reference(base, licence), encoding="utf-8")
        copied.append("LICENSE")
    if licence == OPENRAIL:
        own = folder / "NOTICE"
        before = f"\n{own.read_text(encoding='utf-8')}" if own.exists() else ""
        own.write_text(_openrail_notice(base) + before, encoding="utf-8")
        copied.append(own.name)
    for name in copied:
        (folder / name).chmod(READABLE)
    return licence


def _by_reference(base: BaseFolder, licence: str) -> str:
    return (
        f"The weights in this folder are a modification of {public_name(base)}, a model of the {base.family.name} family.\n"
        f"They are licensed under {licence}. The text of that licence is at\n\n    {base.family.licence_url}\n\n"
        "and is part of these terms. Put its full text in the place of this file before the folder leaves your organisation.\n"
    )


def _openrail_notice(base: BaseFolder) -> str:
    """The duties of BigCode's licence in our words; its own text decides."""
    return (
        f"{public_name(base)} is licensed under {OPENRAIL} ({base.family.licence_url}).\n"
        "Adapters, merged and quantised weights are modifications in the sense of that licence. Therefore:\n\n"
        "1. Paragraph 4 and the use restrictions of Attachment A bind every use of this model and of what is made from it.\n"
        "2. Who passes it on, as files, as a service or in any other way, puts paragraph 4 and Attachment A, or restrictions\n"
        "   that serve the same purpose, into the terms under which it is passed on.\n"
        "3. The documentation that goes with it is of the same or better quality and names the modification: README.md.\n"
        "4. Generated text that is published is disclosed as machine generated.\n"
    )


def card(facts: Facts, licence: str) -> str:
    """The model card as Markdown with the header that model hubs read."""
    parts = [
        _header(facts, licence),
        _origin(facts),
        _training(facts),
        _data(facts.data),
        _evaluation(facts.evaluation),
        _merge(facts.report),
    ]
    return "\n\n".join([*parts, _limits(facts, licence)]) + "\n"


def _header(facts: Facts, licence: str) -> str:
    header: dict[str, Any] = {"license": licence, "library_name": "peft" if facts.report.base == "none" else "transformers"}
    if licence == OPENRAIL:
        header |= {"license": "other", "license_name": licence, "license_link": facts.base.family.licence_url}
    header |= {"base_model": facts.base.name} if from_hub(facts.base) else {}
    header |= {"pipeline_tag": "text-generation", "tags": ["code", "octotune"]}
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n# {facts.recipe.name}"


def _origin(facts: Facts) -> str:
    form = "The adapter alone" if facts.report.base == "none" else f"{public_name(facts.base)} with an adapter merged into its weights"
    rows = [
        ("base model", public_name(facts.base)),
        ("base revision", facts.base.path.name if from_hub(facts.base) else "a local folder"),
        ("base digest (SHA-256)", facts.base.digest),
        ("adapter weights (SHA-256)", facts.adapter_digest),
        ("model family", facts.base.family.name),
    ]
    return f"{form}, trained with octotune on the repositories named below.\n\n{_table(('', ''), rows)}"


def _training(facts: Facts) -> str:
    recipe = facts.recipe
    method = ", ".join(f"{key} {_plain(value)}" for key, value in recipe.adapter.model_dump(mode="json").items())
    rows = [
        ("method", method),
        ("base weights while training", recipe.model.quantization if recipe.model.quantization != "none" else "not quantised"),
        ("learning rate", f"{recipe.train.learning_rate:g}, {recipe.train.schedule}"),
        ("rows in a step", f"{recipe.train.batch_size} x {recipe.train.accumulation} on each device, {recipe.data.row_length} tokens each"),
        ("seed", str(recipe.seed)),
    ]
    return f"## Training\n\n{_table(('', ''), rows)}"


def _data(data: Mapping[str, Any] | None) -> str:
    """Counts, and repositories by name and commit: a path says nothing on another machine."""
    if data is None:
        return "## Data\n\nNo record of the data lies beside this adapter."
    items = data["items"]
    rows: list[tuple[str, object]] = [(f"repository {source['name']}", source["commit"]) for source in data.get("repositories", ())]
    rows += [("files and changes read", items["read"]), ("kept", items["kept"])]
    rows += [(f"left out: {reason}", count) for reason, count in sorted(items["dropped"].items())]
    rows += [(f"samples, {miner}", _plain(sides)) for miner, sides in sorted(data["samples"].items())]
    rows += [(f"tokens, {name}", count) for name, count in data["tokens"].items()]
    rows += [(f"redacted: {kind}", count) for kind, count in sorted(data["redactions"].items())]
    rows += [("languages, files", _plain(data["languages"]))] if "languages" in data else []
    rows += [("licences, files", _plain(data["licences"]))] if "licences" in data else []
    return f"## Data\n\n{_table(('', 'count'), rows)}"


def _evaluation(evaluation: Mapping[str, Any] | None) -> str:
    if evaluation is None:
        return "## Evaluation\n\nNot measured: no evaluation of this adapter lies in its run."
    rows = []
    for name, arms in sorted(evaluation["metrics"].items()):
        shown = "" if arms["difference"]["low"] > 0 or arms["difference"]["high"] < 0 else " (no difference shown)"
        rows.append((name, _estimate(arms["base"]), _estimate(arms["tuned"]), _estimate(arms["difference"]) + shown, arms["base"]["n"]))
    note = "Held-out files, base and tuned on the same items, 95 % intervals by a bootstrap over files."
    return f"## Evaluation\n\n{note}\n\n{_table(('metric', 'base', 'tuned', 'difference', 'n'), rows)}"


def _estimate(value: Mapping[str, float]) -> str:
    return f"{value['value']:.3g} [{value['low']:.3g}, {value['high']:.3g}]"


def _merge(report: MergeReport) -> str:
    into = {
        "dequantized": "the quantised base, dequantised: the weights it was trained on",
        "original": "the original weights of the base",
        "none": "nothing: the adapter is loaded beside its base",
    }[report.base]
    rows = [
        ("merged into", into),
        ("number format", report.dtype),
        ("strength", f"{report.strength:g}"),
        ("KL(adapter, this), nats a token", f"{report.kl:.2e} (allowed {report.tolerance:.2e})"),
        ("KL(adapter, base), for comparison", f"{report.effect:.2e}"),
        ("same most likely token", f"{report.top1:.4f}"),
        ("largest logit difference", f"{report.max_abs_logit_difference:.3g}"),
        ("loss: base, adapter, this", f"{report.loss.base:.4f}, {report.loss.adapter:.4f}, {report.loss.exported:.4f}"),
        ("greedy answers that are equal", f"{report.greedy_equal} of {report.greedy_prompts}"),
        ("compared on", f"{report.tokens} tokens of {'held-out' if report.rows_from == 'valid' else 'training'} rows"),
    ]
    return f"## Export\n\nReloaded in a fresh process and compared with the adapter.\n\n{_table(('', ''), rows)}"


def _limits(facts: Facts, licence: str) -> str:
    lines = [
        "- It completes code in the manner of the repositories it was trained on; outside of them expect the base model or worse.",
        "- Its output can be wrong, insecure or close to training text: review it as you would a stranger's patch.",
        "- It may know names and habits of the private code it has seen; treat the weights as confidential as that code.",
    ]
    if facts.base.sliding_window:
        lines.append(
            f"- Attention reaches {facts.base.sliding_window} tokens back; a runtime without a sliding window differs beyond that."
        )
    terms = f"Licence of the base: {licence}. See LICENSE."
    if licence == OPENRAIL:
        terms += (
            " Its paragraph 4 and Attachment A go with every copy; NOTICE lists what is owed. Publish output only as machine generated."
        )
    return "## Limits\n\n" + "\n".join(lines) + f"\n\n## Licence\n\n{terms}"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(inner) for inner in value) or "none"
    return str(value)
