"""STEP why: what became of a file or a commit, step by step, from the decision table of a build."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from finetune.data.measures import measured
from finetune.data.reasons import MEANINGS
from finetune.data.tables import DECISIONS, SAMPLES, Row, SampleRow, read_table
from finetune.errors import DataError
from finetune.recipe import Recipe
from finetune.run import Run

SHOWN = 20  # explanations in one answer, unless told otherwise
_COMMIT = re.compile(r"[0-9a-f]{6,64}")
_WIDTH = 11


def why(run: Run, targets: Sequence[str], *, reason: str = "", limit: int = SHOWN) -> str:
    """What was decided of the files and commits named, and why. A target is a path, `REPOSITORY:PATH`, a pattern or a commit.

    `reason`: only what was left out for it. Without either, how many were left out for what. Raises DataError, with what comes near, for
    a path, a commit or a reason that the build never saw.
    """
    run.require("build", error=DataError)
    if not (run.data / DECISIONS).exists():
        raise DataError(f"{run.data}: no {DECISIONS} in it; it was built by an older version: type finetune build {run.folder}")
    rows = [*read_table(Row, run.data / DECISIONS)]
    if reason:
        _check_reason(reason, rows)
    found = [row for target in targets for row in _fitting(target, rows, run)] if targets else rows
    found = [row for row in dict.fromkeys(found) if not reason or row.reason == reason]
    if not targets and not reason:
        return _overview(rows)
    if not found:
        return f"none of {', '.join(targets)} was left out for {reason}"
    told = _Told(run, rows, found[:limit])
    shown = "\n\n".join(told.explain(row) for row in found[:limit])
    more = f"\n\n{len(found) - limit} more; write -n {len(found)} to see all of them" if len(found) > limit else ""
    return shown + more


def _check_reason(reason: str, rows: Iterable[Row]) -> None:
    known = sorted({row.reason for row in rows if row.reason})
    if reason not in known:
        near = difflib.get_close_matches(reason, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "write one of " + (", ".join(known) or "none: nothing was left out")
        raise DataError(f"--reason {reason}: nothing was left out for it; {hint}")


def _fitting(target: str, rows: Sequence[Row], run: Run) -> list[Row]:
    """The files a target names, else the commits. A file's own commits are counted beside it."""
    repo, path = _parted(target, {row.repo for row in rows})
    files = [row for row in rows if row.kind == "file" and (not repo or row.repo == repo)]
    if exact := [row for row in files if row.path == path]:
        return exact
    commits = [row for row in rows if row.kind == "commit" and (not repo or row.repo == repo)]
    if _COMMIT.fullmatch(path) and (named := [row for row in commits if row.commit.startswith(path)]):
        return named
    if any(sign in path for sign in "*?[") and (fitting := [row for row in files if fnmatchcase(row.path, path)]):
        return fitting
    if gone := [row for row in commits if row.path == path]:
        return gone  # a file of the history that is not there today
    raise DataError(f"{target}: {run.folder.name} has seen no such file or commit; {_near(path, rows)}")


def _parted(target: str, repositories: set[str]) -> tuple[str, str]:
    for repo in repositories:
        if target.startswith(f"{repo}:"):
            return repo, target.removeprefix(f"{repo}:").strip()
    return "", target.removeprefix("./")


def _near(path: str, rows: Iterable[Row]) -> str:
    known = {row.path for row in rows if row.path}
    name = path.rpartition("/")[2]
    alike = [each for each in sorted(known) if each.rpartition("/")[2] == name]
    near = alike[:1] or difflib.get_close_matches(path, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"write one of the {len(known)} paths it has, a pattern such as '*.py', or a commit's id"


def _overview(rows: Sequence[Row]) -> str:
    lines = []
    for kind in ("file", "commit"):
        ours = [row for row in rows if row.kind == kind]
        reasons = Counter(row.reason for row in ours if row.reason)
        lines.append(f"{len(ours)} {kind}s read, {len(ours) - reasons.total()} kept")
        lines += [f"  {count:>8,}  {reason:<28} {_meaning(reason)}".rstrip() for reason, count in reasons.most_common()]
    return "\n".join([*lines, "name a path, a pattern or a commit, or write --reason REASON, to see each"])


def _meaning(reason: str) -> str:
    return MEANINGS[reason].sentence if reason in MEANINGS else ""


class _Told:
    """What lies beside the table, read once; of the samples, those that `asked` are in."""

    def __init__(self, run: Run, rows: Sequence[Row], asked: Iterable[Row]) -> None:
        self._run = run
        self._samples: dict[tuple[str, str, str], list[SampleRow]] = {(row.repo, row.commit, row.path): [] for row in asked if row.samples}
        for each in read_table(SampleRow, run.data / SAMPLES) if self._samples else ():
            for path in each.paths:
                if (place := (each.repo, each.commit, path)) in self._samples:
                    self._samples[place].append(each)
        self._commits = [row for row in rows if row.kind == "commit" and row.path]
        self._clusters = [*_lines(run, "clusters.jsonl")]
        self._redactions = [*_lines(run, "redactions.jsonl")]
        self._parts = [*_lines(run, "refused.jsonl")]

    def explain(self, row: Row) -> str:
        """The chain: what was read, what is known of it, what was decided and why, what came of it."""
        lines = [row.path if row.kind == "file" else f"commit {row.commit}"]
        where = f"{row.repo} at {row.commit[:12]}" if row.kind == "file" else f"{row.repo}: {row.path or 'no one file'}"
        lines.append(_line("repository", where))
        size = "not read as text" if row.bytes is None else f"{row.bytes:,} bytes"
        lines.append(_line("read", f"{size}, {row.language}" if row.language else size))
        lines.append(_line("licence", row.license or "none found"))
        lines += self._kept(row) if row.reason is None else self._left_out(row)
        lines += [*self._refused(row), *self._redacted(row)]
        return "\n".join([*lines, *(self._history(row) if row.kind == "file" else [])])

    def _kept(self, row: Row) -> Iterator[str]:
        yield _line("decision", f"kept, on the {row.side} side")
        samples = self._samples.get((row.repo, row.commit, row.path), [])
        made = Counter(each.miner for each in samples)
        held = "; it is held out whole" if row.side == "valid" and row.kind == "file" else ""
        yield _line("samples", f"{len(samples)}{_counted(made)}{held}")
        if samples:
            numbers = sorted({each.row for each in samples})
            more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
            yield _line("rows", f"{', '.join(map(str, numbers[:SHOWN]))}{more} of {row.side}")

    def _left_out(self, row: Row) -> Iterator[str]:
        assert row.reason is not None
        meaning = MEANINGS.get(row.reason)
        yield _line("decision", f"left out: {row.reason}" + (f", {meaning.sentence}" if meaning else ""))
        if row.detail:
            yield _line("", f"because of {row.detail}")
        if meaning and meaning.key:
            yield from (_line("", text) for text in _settings(meaning.key, self._run.recipe))
        yield from (_line("", text) for text in measured(row, self._run.recipe))
        yield from (_line("", text) for text in self._cluster(row))

    def _cluster(self, row: Row) -> Iterator[str]:
        for cluster in self._clusters:
            members = [(each["repo"], each["path"]) for each in cluster["left_out"]]
            if row.kind == "file" and (row.repo, row.path) in members:
                keeper = cluster["keeper"]
                yield f"one of {len(members) + 1} alike; {keeper['repo']}: {keeper['path']} stays (clusters.jsonl)"

    def _refused(self, row: Row) -> Iterator[str]:
        """The functions and tests in it that became no instruction."""
        ours = [each for each in self._parts if (each["repo"], each["commit"], each["path"]) == (row.repo, row.commit, row.path)]
        for number, each in enumerate(ours[:SHOWN]):
            named = f" {each['detail']}" if each.get("detail") else ""
            text = f"{each['miner']}:{named}: {each['reason']}, {_meaning(each['reason'])}".removesuffix(", ")
            yield _line("" if number else "parts", text)
        if len(ours) > SHOWN:
            yield _line("", f"{len(ours) - SHOWN} more in refused.jsonl")

    def _redacted(self, row: Row) -> Iterator[str]:
        if row.redactions:
            ours = [each for each in self._redactions if (each["repo"], each["commit"], each["path"]) == (row.repo, row.commit, row.path)]
            kinds = ", ".join(f"{each['kind']} in line {each['line']}" for each in ours[:SHOWN])
            yield _line("redactions", f"{row.redactions}" + (f": {kinds} (redactions.jsonl)" if kinds else ""))

    def _history(self, row: Row) -> Iterator[str]:
        ours = [each for each in self._commits if (each.repo, each.path) == (row.repo, row.path)]
        if ours:
            reasons = Counter(each.reason for each in ours if each.reason)
            yield _line("commits", f"{len(ours)} of this file alone: {len(ours) - reasons.total()} kept{_counted(reasons)}")


def _lines(run: Run, name: str) -> Iterator[dict[str, Any]]:
    path = run.data / name
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines)


def _settings(key: str, recipe: Recipe) -> Iterator[str]:
    """What the recipe says under a key; of filters and miners nothing here: the one that spoke is told with its numbers."""
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    if key in {"data.filters", "data.miners"}:
        return
    dumped = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    if isinstance(dumped, dict):
        yield f"{key}: " + ", ".join(f"{name} {_plain(each)}" for name, each in dumped.items())
    else:
        yield f"{key}: {_plain(dumped)}"


def _plain(value: Any) -> str:
    match value:
        case list() | tuple():
            return ", ".join(map(_plain, value)) or "none"
        case bool():
            return "yes" if value else "no"
        case dict() | None:
            return json.dumps(value)
    return value.path if hasattr(value, "path") else str(value)


def _counted(counts: Counter[str]) -> str:
    return "".join(f", {name} {count}" for name, count in counts.most_common())


def _line(title: str, text: str) -> str:
    return f"  {title:<{_WIDTH}}{text}"
