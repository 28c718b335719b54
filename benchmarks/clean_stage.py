"""The whole clean stage in megabytes a CPU-second, and what each part of it costs.

    python benchmarks/clean_stage.py NAME=REPOSITORY ... [--rounds 3]

In it: bytes to text, the licence each file states, its language, the default filters and licence policy, redaction by the rules,
a digest for exact copies: what `build` does to every file first. Not in it: git (docs/benchmarks/history.md), near-duplicates
(docs/benchmarks/dedup.md), tokens. Every distinct file of the newest commits is in memory before the clock starts; start-up (tables,
the automaton of the screen, the licence texts) is told apart. Megabytes are those of all texts, the dropped ones too.
The best of the rounds is told: what a licence notice or a language rule has cached in one round is dropped before the next.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from finetune.data import languages, licences
from finetune.data.dedup import digest
from finetune.data.filters import default_filters, keep
from finetune.data.headers import licence_of_text
from finetune.data.languages import language_of
from finetune.data.notebooks import as_script
from finetune.data.policy import Licences
from finetune.data.repos import open_repositories
from finetune.data.repos.files import MAX_BYTES, scopes_of
from finetune.data.repos.git import Blob
from finetune.data.repos.trees import list_tree
from finetune.data.secrets import open_redactor, redact_item
from finetune.data.tally import Tally
from finetune.data.texts import Text, decode
from finetune.records import Origin, SourceFile

T = TypeVar("T")


class Read(NamedTuple):
    """A file before anything is known of it; `above`: the licence its folder has, `own` that of the repository."""

    repo: str
    path: str
    blob: Blob
    above: str | None
    own: str | None


def read(paths: list[str]) -> list[Read]:
    found: dict[str, Read] = {}
    for repository in open_repositories(paths, "HEAD"):
        with repository.store() as store:
            entries = [each for each in list_tree(store, repository.commit) if each.kind == "blob" and each.mode.startswith("100")]
            scopes, first = scopes_of(store, entries), {each.oid: each.path for each in reversed(entries)}
            for blob in store.blobs([oid for oid in first if oid not in found], max_bytes=MAX_BYTES):
                path = first[blob.oid]
                found[blob.oid] = Read(repository.name, path, blob, scopes.of(path), scopes.own)
    return list(found.values())


class Clock:
    """CPU-seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], T]) -> T:
        begin = time.process_time()
        result = work()
        self.seconds[name] = time.process_time() - begin
        return result


def clean(files: list[Read], clock: Clock) -> dict[str, float]:
    """The stage, part by part over all files: the same calls as a build's, which takes file by file through all of them."""
    tally, redactor = Tally(), open_redactor()
    decoded = clock.time("text", lambda: [decode(each.blob) for each in files])
    texts: list[tuple[Read, Text]] = [(each, text) for each, text in zip(files, decoded, strict=True) if text.reason is None]
    stated = clock.time("stated licence", lambda: [licence_of_text(text.text) for _, text in texts])
    spoken = clock.time("language", lambda: [language_of(each.path, text.text) for each, text in texts])
    items = clock.time("record", lambda: _records(texts, stated, spoken, tally))
    wanted = clock.time("filters", lambda: list(keep(items, default_filters(), tally)))
    allowed = clock.time("licence policy", lambda: list(keep(wanted, (Licences(),), tally)))
    redacted = clock.time("secrets", lambda: [redact_item(each, redactor, tally) for each in allowed])
    distinct = clock.time("exact copies", lambda: {digest(each) for each in redacted})
    size = sum(len(each.blob.content) for each, _ in texts) / 1e6
    return {"files": len(texts), "megabytes": size, "kept": len(distinct), "dropped": tally.dropped.total()}


def _records(texts: list[tuple[Read, Text]], stated: list[str | None], spoken: list[str | None], tally: Tally) -> list[SourceFile]:
    items = []
    for (each, text), licence, language in zip(texts, stated, spoken, strict=True):
        if language is None:
            continue
        script, fault = as_script(text.text, language)
        if fault is None:
            origin = Origin(each.repo, "", each.path, licence or each.above, None, None, each.own)
            tally.look(item := SourceFile(origin, language, script))
            items.append(item)
    return items


def forget() -> None:
    """Empties what licences and languages remember of texts; tables stay."""
    for module in (languages, licences):
        for value in vars(module).values():
            if isinstance(value, functools._lru_cache_wrapper) and value.cache_parameters()["maxsize"] is not None:
                value.cache_clear()
    open_redactor.cache_clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    files = read(arguments.repositories)
    begin = time.process_time()
    clean(files[:50], Clock())
    start = time.process_time() - begin
    gc.freeze()
    rounds = []
    for _ in range(arguments.rounds):
        forget()
        result = clean(files, clock := Clock())
        rounds.append((sum(clock.seconds.values()), clock.seconds))
    total, parts = min(rounds)
    megabytes = result["megabytes"]
    result |= {
        "megabytes": round(megabytes, 1),
        "start": round(start, 2),
        "cpu_seconds": round(total, 2),
        "mb_a_second": round(megabytes / total, 1),
    }
    result["mb_a_second_by_round"] = [round(megabytes / seconds, 1) for seconds, _ in rounds]  # type: ignore[assignment]
    result["ms_a_mb"] = {name: round(1000 * seconds / megabytes, 2) for name, seconds in parts.items()}  # type: ignore[assignment]
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
