"""The model card of an export, as Markdown: what it is, what it was made from, what was measured.

A figure that was not measured is said to be so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from finetune.base import BaseFolder
from finetune.cards.terms import OPENRAIL, from_hub, public_name
from finetune.exporters import MergeReport
from finetune.recipe import Recipe
from finetune.records import FEWEST_FOR_A_VERDICT

_LIBRARY = {"merged": "transformers", "adapter": "peft", "gguf": "llama.cpp", "gguf_lora": "llama.cpp"}


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a card tells; `data` and `evaluation` are a run's two report.json files, None where there is none for this adapter."""

    base: BaseFolder
    recipe: Recipe
    report: MergeReport
    adapter_digest: str
    data: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None


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
    header: dict[str, Any] = {"license": licence, "library_name": _LIBRARY[facts.report.form]}
    if licence == OPENRAIL:
        header |= {"license": "other", "license_name": licence, "license_link": facts.base.family.licence_url}
    header |= {"base_model": facts.base.name} if from_hub(facts.base) else {}
    header |= {"pipeline_tag": "text-generation", "tags": ["code", "octotune"]}
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n# {facts.recipe.name}"


def _origin(facts: Facts) -> str:
    base = public_name(facts.base)
    form = {
        "merged": f"{base} with an adapter merged into its weights",
        "adapter": "The adapter alone",
        "gguf": f"{base} with an adapter merged into its weights, as a GGUF file for llama.cpp",
        "gguf_lora": f"{base} and an adapter beside it, as two GGUF files for llama.cpp",
    }[facts.report.form]
    rows = [
        ("base model", public_name(facts.base)),
        ("base revision", facts.base.path.name if from_hub(facts.base) else "a local folder"),
        ("base digest (SHA-256)", facts.base.digest),
        ("adapter weights (SHA-256)", facts.adapter_digest),
        ("model family", facts.base.family.name),
        *((f"added token {token.text}", f"id {token.id}, its embedding trained") for token in facts.base.family.added),
    ]
    text = f"{form}, trained with octotune on the repositories named below.\n\n{_table(('', ''), rows)}"
    if facts.base.family.added and facts.report.form == "adapter":
        text += (
            "\n\nThe adapter holds rows for tokens that the base model lacks: give the base "
            f"{facts.base.vocabulary_size} embeddings before the adapter is loaded (`model.resize_token_embeddings`), and use the "
            "tokenizer beside this page."
        )
    return text


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
        shown = " (no difference shown)" if arms["verdict"] == "no difference shown" else ""
        rows.append((name, _estimate(arms["base"]), _estimate(arms["tuned"]), _estimate(arms["difference"]) + shown, arms["base"]["n"]))
    note = "Held-out files, base and tuned on the same items, 95 % intervals by a bootstrap over files. Fewer than "
    note += f"{FEWEST_FOR_A_VERDICT} files show no difference: they agree by chance too often."
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
        *(
            (f"added: {each.name}, x {each.weight:g}", f"SHA-256 {each.digest}; its data is not in the table above")
            for each in report.added
        ),
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
    if facts.report.form in ("gguf", "gguf_lora"):
        lines.append(
            "- llama.cpp answers as the trained model does within the context that the file names; it is cut to the sliding window "
            "where the model has one, since llama.cpp has none for every architecture."
        )
    elif facts.base.sliding_window:
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
