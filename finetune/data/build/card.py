"""The data card, README.md in the dataset's folder: report.json and the recipe as a reader, and a model hub, want to see them.

Every number is one of report.json. A repository is told by name and commit: its path says nothing on another machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

import yaml

from finetune.data.report import NO_LICENCE, BuildReport, Counts
from finetune.recipe import Recipe

_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B")  # the hub's words
_FILES = {
    "train/, valid/": "packed rows (Arrow): `input_ids`, `learnt`, `position_ids`, which begin at 0 with each sample",
    "samples.parquet": "a line for each sample: its row, its length, the miner, repository, commit, paths and licences",
    "decisions.parquet": "a line for each file and commit that was read: kept or left out, and why; `finetune why` asks it",
    "decisions.jsonl": "what was left out of it, with the reason",
    "refused.jsonl": "what was tried for instructions and became no sample: functions, tests, lines of your own files, with the reason",
    "clusters.jsonl": "groups of files that are nearly the same, and which one stayed",
    "heldout.jsonl": "the files of the valid side, whole: what is measured on",
    "redactions.jsonl": "every value that was replaced, by place and kind, without the value: for review",
    "report.json": "the numbers of this page",
}


def card(report: BuildReport, recipe: Recipe) -> str:
    """The card as Markdown, behind the header that the hub reads."""
    parts = (_head(report, recipe), _sources(report), _samples(report, recipe), _left_out(report), _governance(report, recipe))
    return "\n\n".join([*parts, _apart(report, recipe), _folder(report)]) + "\n"


def _head(report: BuildReport, recipe: Recipe) -> str:
    samples = sum(sum(sides.values()) for sides in report.samples.values())
    header = {
        "pretty_name": recipe.name,
        "license": "other",
        "license_name": "that-of-each-file",
        "language": ["code"],
        "task_categories": ["text-generation"],
        "tags": ["code", "octotune", *(["fill-in-the-middle"] if "fim" in report.samples else [])],
        "size_categories": [_SIZES[min(len(_SIZES) - 1, max(0, len(str(samples)) - 3))]],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "train/*.arrow"}, {"split": "validation", "path": "valid/*.arrow"}],
            }
        ],
    }
    text = (
        "Made by octotune from the repositories below, tokenised and packed into rows. It holds their code: treat it as confidential as "
        "that. Licences are those of the files; the list below counts them, and samples.parquet and decisions.parquet name that of each."
    )
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n# {recipe.name}\n\n{text}"


def _sources(report: BuildReport) -> str:
    rows = [(source.name, source.commit) for source in report.repositories]
    counted = _table(("language", "files"), _most(report.languages)), _table(("licence", "files"), _most(report.licences))
    return "\n\n".join(("## Sources", _table(("repository", "commit"), rows), *counted))


def _samples(report: BuildReport, recipe: Recipe) -> str:
    tokens, data, made = report.tokens, recipe.data, sorted(report.samples.items())
    rows: list[tuple[object, ...]] = [(f"samples: {miner}", sides["train"], sides["valid"]) for miner, sides in made]
    rows += [("rows", report.rows["train"], report.rows["valid"]), ("tokens", tokens.train, tokens.valid)]
    rows += [("tokens that are learnt", tokens.learnt, ""), ("padding", tokens.padding, "")]
    learnt = "the whole sample" if data.learn == "all" else "the answer alone"
    form = f"rows of {data.row_length} tokens" if data.packing else "one sample in a row"
    text = (
        f"{form[0].upper()}{form[1:]}; learnt is {learnt}. Tokens by {report.engine}, the tokenizer of {_base(recipe)}; seed {recipe.seed}."
    )
    return f"## Samples\n\n{text}\n\n{_table(('', 'train', 'valid'), rows)}{_tried(report)}"


def _tried(report: BuildReport) -> str:
    """What was tried of instructions and of lines of the user's own, where there was any."""
    tried = {**report.instructions, **({"lines of files of your own": report.lines} if report.lines.read else {})}
    if not tried:
        return ""
    rows: list[tuple[object, ...]] = []
    for name, counts in tried.items():
        rows += [(f"{name}: tried", counts.read), (f"{name}: made", counts.kept)]
        rows += [(f"{name}: left out, {reason}", count) for reason, count in _most(counts.dropped)]
    return f"\n\n{_table(('instructions', 'count'), rows)}"


def _base(recipe: Recipe) -> str:
    """The base's name for other machines: a path ends in its folder's name."""
    return PurePath(recipe.model.path).name if PurePath(recipe.model.path).is_absolute() else recipe.model.path


def _left_out(report: BuildReport) -> str:
    parts: tuple[Counts, ...] = (report.files, report.changes, report.items)
    rows: list[tuple[object, ...]] = [("read", *(part.read for part in parts)), ("kept", *(part.kept for part in parts))]
    rows += [(f"left out: {reason}", *(part.dropped.get(reason, 0) for part in parts)) for reason, _ in _most(report.items.dropped)]
    return f"## Read, kept, left out\n\n{_table(('', 'files', 'commits', 'together'), rows)}"


def _governance(report: BuildReport, recipe: Recipe) -> str:
    data, dropped = recipe.data, report.items.dropped
    licences = ", ".join(f"{key} {_said(value)}" for key, value in data.licences.model_dump().items())
    opted_out = [(reason, count) for reason, count in _most(dropped) if reason.startswith("opted_out")]
    lists = f"{len(data.opt_out)} opt-out lists were asked" if data.opt_out else "No opt-out list was given"
    named = ", ".join(PurePath(each.path).name for each in data.decontaminate) or "none was given"
    sections = (
        f"## Governance\n\nLicence policy: {licences}. Files without a licence ({NO_LICENCE}): {report.licences.get(NO_LICENCE, 0)}.",
        f"{lists}: {sum(count for _, count in opted_out)} files and commits left out.",
        _table(("opted out", "count"), opted_out) if opted_out else "",
        "Secrets and personal data were replaced by placeholders in files, commit messages and old versions; redactions.jsonl lists where.",
        _table(("redacted", "values"), _most(report.redactions)) if report.redactions else "Nothing was found to replace.",
        f"Benchmarks kept out: {named}. Files and commits left out for holding their text: {dropped.get('benchmark', 0)}.",
        _benchmarks(report),
    )
    return "\n\n".join(section for section in sections if section)


def _benchmarks(report: BuildReport) -> str:
    if not report.benchmark_texts:
        return ""
    head = ("benchmark", "left out for it", "texts looked for", "not, too short", "not, shared by many tasks")
    found = sorted(report.benchmark_texts.items())
    return _table(head, [(name, report.benchmarks.get(name, 0), each.wanted, each.too_short, each.shared) for name, each in found])


def _apart(report: BuildReport, recipe: Recipe) -> str:
    data, check = recipe.data, report.split
    near = data.near_duplicates
    how = {
        "path": f"by a hash of repository and path, {data.valid_share} of the files held out",
        "repository": f"by a hash of the repository, {data.valid_share} of them held out",
        "date": f"by date, held out what was committed from {data.split.date} on",
    }[data.split.by]
    rows = [
        ("files on the train side", report.sides["train"]),
        ("files on the valid side", report.sides["valid"]),
        ("files held out whole (heldout.jsonl)", report.heldout),
        *((f"left out: {reason}", count) for reason, count in _most(report.items.dropped) if _is_copy(reason)),
        ("texts of the train side compared", check.train),
        ("texts of the valid side compared", check.valid),
        (f"valid texts with a train text {check.threshold:.0%} alike", check.crossing),
    ]
    state = f"left out from a similarity of {near.threshold} on" if near.enabled else "kept where they do not cross the split"
    text = (
        f"Split {how}. Near-duplicates (Jaccard, five words in a row) were {state}; what is like a held-out text never stays in training."
    )
    return f"## Copies and the split\n\n{text}\n\n{_table(('', 'count'), rows)}"


def _is_copy(reason: str) -> bool:
    return "copy" in reason or reason.startswith(("near_", "held_out_"))


def _folder(report: BuildReport) -> str:
    what = _table(("file", "what it holds"), [*_FILES.items()])
    shards = _table(("file", "SHA-256"), [*sorted(report.shards.items())])
    read = "```python\nfrom datasets import load_from_disk\n\nrows = load_from_disk('train')\n```"
    return f"## What lies here\n\n{what}\n\n{read}\n\n{shards}"


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def _said(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return ", ".join(map(str, value)) or "none"
    return str(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)
