"""The model card: card.md filled in from the packages, the recipe, the run's log and the measurement. No figure is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import yaml

from finetune.demo.pretrain.fetch import Package

RECIPE = Path(__file__).with_name("recipe.yaml")
TEMPLATE = Path(__file__).with_name("card.md")


class Facts(NamedTuple):
    """What the card is written from: `measured` is measurement.json, the training's last log line, counts and parameters in it."""

    recipe: Mapping[str, Any]
    packages: Sequence[Package]
    measured: Mapping[str, Any]


def read_recipe(path: Path = RECIPE) -> dict[str, Any]:
    """The sizes of a run, by section."""
    recipe: dict[str, Any] = yaml.safe_load(path.read_text())
    return recipe


def card(facts: Facts) -> str:
    """README.md of the model folder."""
    return Template(TEMPLATE.read_text()).substitute(
        **_figures(facts.measured),
        **_training(facts.recipe, facts.measured["training"]),
        **_corpus(facts.measured["corpus"]),
        **_packages(facts.packages),
    )


def _figures(measured: Mapping[str, Any]) -> dict[str, str]:
    reading = [
        [name, row["files"], f"{row['bytes']:,}", f"{row['model']:.3f}", f"{row['xz']:.3f}"]
        for name, row in measured["bits_per_byte"].items()
    ]
    names = {"line": "rest of a line", "block": "1 to 4 lines"}
    found = [(name, measured[shape]) for shape, name in names.items()]
    holes = [[name, hole["n"], _share(hole["exact"]), _share(hole["stopped"]), hole["limit"]] for name, hole in found]
    languages = [f"{language} {share['value']:.0%} (n={share['n']})" for language, share in measured["line"]["exact_by_language"].items()]
    return {
        "reading": _table(["held-out files", "n", "bytes", "model", "xz -9"], reading),
        "holes": _table(["hole", "n", "exact", "stops", "limit, tokens"], holes),
        "languages": ", ".join(languages),
        "parameters": f"{measured['parameters']:,}",
    }


def _share(share: Mapping[str, float]) -> str:
    return f"{share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


def _training(recipe: Mapping[str, Any], trained: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    rows = recipe["rows"]
    shape = {name: f"{size:,}" for name, size in recipe["model"].items()}
    lengths = {name: f"{rows[name]:,}" for name in ("stable_length", "final_length")}
    first = _run(recipe["schedule"], recipe["mix"], trained["read"])
    second = _run(recipe["hole_schedule"], recipe["hole_mix"], trained["filled"])
    return {**shape, **lengths, **first, **{f"hole_{name}": text for name, text in second.items()}}


def _run(schedule: Mapping[str, Any], mix: Mapping[str, Any], log: Mapping[str, float]) -> dict[str, str]:
    return {
        **{kind: f"{share:.0%}" for kind, share in mix["kinds"].items()},
        "steps": f"{log['step']:,}",
        "tokens": f"{log['tokens'] / 1e6:.1f}",
        "minutes": f"{log['seconds'] / 60:.0f}",
        "muon_rate": str(schedule["muon_rate"]),
        "adam_rate": str(schedule["adam_rate"]),
        "tokens_per_step": f"{schedule['tokens_per_step']:,}",
        "warmup_steps": str(schedule["warmup_steps"]),
        "decay": f"{schedule['decay']:.0%}",
        "fim": f"{mix['fim']:.0%}",
        "spm": f"{mix['spm']:.0%}",
        "shapes": ", ".join(f"{share:.0%} {name}" for name, share in mix["holes"].items()),
    }


def _corpus(tally: Mapping[str, int]) -> dict[str, str]:
    kept = [key.removeprefix("train files ") for key in sorted(tally) if key.startswith("train files ")]
    rows = [
        [name, f"{tally[f'train files {name}']:,}", f"{tally[f'train bytes {name}'] / 1e6:.1f}", tally[f"held_out files {name}"]]
        for name in kept
    ]
    dropped = [f"{key.removeprefix('dropped ')} {tally[key]:,}" for key in sorted(tally) if key.startswith("dropped ")]
    return {"corpus": _table(["language", "training files", "MB", "held-out files"], rows), "dropped": ", ".join(dropped)}


def _packages(packages: Sequence[Package]) -> dict[str, str]:
    texts = {}
    for name, held_out in (("trained", False), ("held", True)):
        rows = [[p.name, p.version, p.licence, p.language, p.ecosystem] for p in packages if p.held_out == held_out]
        texts[name] = str(len(rows))
        texts[f"{name}_table"] = _table(["package", "version", "licence", "language", "from"], rows)
    return texts


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
