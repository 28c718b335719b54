"""The model card, written from the packages, the recipe, the run's log and the measurement: no figure is typed by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from finetune.demo.pretrain.fetch import Package

HEAD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [code, fill-in-the-middle, starcoder2]
---

# The embedded base model

A StarCoder 2 in small, made so that every command of octotune has a real base model to work on, anywhere and without a network. It has
StarCoder 2's architecture, special tokens (at StarCoder 2's ids), pre-tokeniser, repository format and fill-in-the-middle forms, so that a recipe
that works on it works on StarCoder 2 by changing `model.path`. It was trained from nothing by `finetune/demo/pretrain`; it holds no weights of another model.
"""

LIMITS = """## What it is not good for
- Writing code that is used. It knows the look of code: indentation, brackets, common names, the next call of a pattern it sees in the prompt. It
  does not know what code does, and what it writes beyond a line or two rarely runs.
- Comparing methods. That LoRA beats IA3 on this model says nothing about StarCoder 2 3B.
- Instructions, chat, natural language, languages other than those in the table, and notebooks.
- More context than the {final_length} tokens of its longest training rows; the position table goes to 2,048 so that longer inputs do not fail.
- Repositories that are, or that copy, one of the packages below: it has seen those.

It may write lines of its training packages as they stand. Their licences are all permissive and listed below; the licence of this model is Apache-2.0.
"""

AGAIN = """## Make it again
```
python -m finetune.demo.pretrain fetch   --work FOLDER    # packages, through pip, npm and apt
python -m finetune.demo.pretrain corpus  --work FOLDER
python -m finetune.demo.pretrain rows    --work FOLDER
python -m finetune.demo.pretrain train   --work FOLDER    # --minutes N; goes on from its checkpoint when started again
python -m finetune.demo.pretrain export  --work FOLDER
python -m finetune.demo.pretrain measure --work FOLDER
python -m finetune.demo.pretrain card    --work FOLDER
```
It runs by the clock: another machine takes other steps and ends with other weights. Debian keeps one version of a package per release, so a later run
may read later sources. `pretrain/recipe.yaml` holds every size, `pretrain/packages.yaml` every package, `measurement.json` every figure above.
"""


class Facts(NamedTuple):
    """What the card is written from; `log` is metrics.jsonl, `tally` the corpus step's counts."""

    recipe: Mapping[str, Any]
    packages: Sequence[Package]
    tally: Mapping[str, int]
    log: Sequence[Mapping[str, float]]
    measured: Mapping[str, Any]


def card(facts: Facts) -> str:
    """README.md of the model folder."""
    limits = LIMITS.format(final_length=f"{facts.recipe['rows']['final_length']:,}")
    sections = [HEAD, _measured(facts.measured), limits, _training(facts), _corpus(facts.tally), AGAIN, _packages(facts.packages)]
    return "\n".join(sections)


def _measured(measured: Mapping[str, Any]) -> str:
    table = measured["bits_per_byte"]
    rows = [[name, row["files"], f"{row['bytes']:,}", f"{row['model']:.3f}", f"{row['xz']:.3f}"] for name, row in table.items()]
    reading = _table(["held-out files", "n", "bytes", "model", "xz -9"], rows)
    return f"""## Measured on packages it never saw
Bits per byte, less is better. The model reads each file alone, without its path, in windows of 1,024 tokens that overlap by half; xz gets all the files of
a line joined into one stream, so it may use one file to pack the next and the model may not.

{reading}
Fill in the middle, greedy, prefix first, 400 tokens on each side, one hole per file, intervals are 95 % (Wilson):

{_holes(measured)}
*Stops* is the share of answers that end by `<|endoftext|>` or `<file_sep>` before the limit of tokens. *Exact* is the share that stop and are the text that
was taken out, white space at both ends aside. Single lines by language: {_languages(measured["line"]["exact_by_language"])}.
"""


def _holes(measured: Mapping[str, Any]) -> str:
    names = {"line": "rest of a line", "block": "1-4 lines"}
    rows = []
    for shape, name in names.items():
        found = measured[shape]
        rows.append([name, found["n"], _share(found["exact"]), _share(found["stopped"]), found["limit"]])
    return _table(["hole", "n", "exact", "stops", "limit (tokens)"], rows)


def _share(share: Mapping[str, float]) -> str:
    return f"{share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


def _languages(shares: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(f"{language} {share['value']:.0%} (n={share['n']})" for language, share in shares.items())


def _training(facts: Facts) -> str:
    shape, schedule, rows = facts.recipe["model"], facts.recipe["schedule"], facts.recipe["rows"]
    mix, last = facts.recipe["mix"], facts.log[-1]
    parameters = facts.measured["parameters"]
    return f"""## Shape and training
{parameters:,} parameters: hidden {shape["hidden_size"]}, feed-forward {shape["intermediate_size"]}, {shape["num_hidden_layers"]} layers,
{shape["num_attention_heads"]} heads, {shape["num_key_value_heads"]} key-value heads, vocabulary {shape["vocab_size"]:,}, tied embeddings, biases, rotary base 100,000,
no sliding window; stored as bf16. The size is what 2 CPU cores can feed in an hour or so: at some thousand tokens a second a larger model sees too few
tokens. A vocabulary of 6,144 reads 6 % more bytes per token than 4,096 and costs 8 % more time per token; the longer reach decided.

- {last["step"]:,} steps, {last["tokens"] / 1e6:.1f} million tokens, {last["seconds"] / 60:.0f} minutes on 2 CPU cores that it shared with other work; bf16 autocast,
  one compiled process a core.
- Muon (rate {schedule["muon_rate"]}) for the matrices of the blocks, AdamW (rate {schedule["adam_rate"]}) for embeddings, norms and biases;
  {schedule["tokens_per_step"]:,} tokens a step; {schedule["warmup_steps"]} steps of warm-up, then a constant rate, then a linear decay to 0 over the last {schedule["decay"]:.0%} of the time.
- Rows of {rows["stable_length"]} tokens, and of {rows["final_length"]:,} while the rate decays, of files the first part did not see. Nothing was seen twice
  where the tokens seen are fewer than those packed.
- One row is of one repository: {mix["kinds"]["repo"]:.0%} with repository name and paths, {mix["kinds"]["files"]:.0%} files behind `<file_sep>`,
  {mix["kinds"]["single"]:.0%} single files without a header, as a prompt is. {mix["fim"]:.0%} of the windows have their middle moved to the end, half of them suffix
  first: {", ".join(f"{name} {share:.0%}" for name, share in mix["holes"].items())} of the holes. The window is cut first, so no middle is cut and each ends in a stop token.
"""


def _corpus(tally: Mapping[str, int]) -> str:
    rows: list[list[object]] = []
    for key in sorted(tally):
        if key.startswith("train files "):
            language = key.removeprefix("train files ")
            rows.append(
                [
                    language,
                    f"{tally[key]:,}",
                    f"{tally[f'train bytes {language}'] / 1e6:.1f}",
                    f"{tally.get(f'held_out files {language}', 0):,}",
                ]
            )
    dropped = ", ".join(f"{key.removeprefix('dropped ')} {tally[key]:,}" for key in sorted(tally) if key.startswith("dropped "))
    return f"""## Corpus
{_table(["language", "training files", "MB", "held-out files"], rows)}
Files left out, by reason: {dropped}. *Share* means that the package or the language had given its part. A file is a near-duplicate when half of its longer
lines were seen before; held-out packages were read first, so what training packages share with them is left out of training.
"""


def _packages(packages: Sequence[Package]) -> str:
    counts = Counter(package.held_out for package in packages)
    parts = [
        f"## Packages\n{counts[False]} trained on, {counts[True]} held out. Name, version, licence as the package's own metadata say.\n"
    ]
    for title, held in (("Trained on", False), ("Held out, for measuring only", True)):
        rows = [[p.name, p.version, p.licence, p.language, p.ecosystem] for p in packages if p.held_out == held]
        parts.append(f"### {title}\n" + _table(["package", "version", "licence", "language", "from"], rows))
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
