"""What looking for parts of the syntax and for imports costs, by language, and how many files do not parse.

    python benchmarks/fim_syntax.py click=/path/to/click mcp-go=/path/to/mcp-go gson=/path/to/gson
    python benchmarks/fim_syntax.py --folder .venv/lib

CPU-seconds of one thread. `unparsed` are files in which the grammar finds an error, `partless` those of ten lines or more without a part.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from finetune.data.imports import imported_first
from finetune.data.languages import language_of
from finetune.data.repos import open_repositories, read_files
from finetune.data.syntax import GRAMMARS, _tools, spans
from finetune.data.tally import Tally
from finetune.records import Origin, SourceFile

MOST = 8_000_000  # characters of a language


def in_folder(folder: Path) -> Iterator[SourceFile]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".js", ".ts", ".tsx", ".c", ".h", ".cc", ".cpp", ".cu", ".hpp", ".rs", ".py"} and path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            yield SourceFile(Origin("folder", "0", str(path.relative_to(folder))), language_of(path.name, text) or "", text)


def by_language(files: Sequence[SourceFile]) -> dict[str, dict[str, float]]:
    """Speed and parse errors of each language with a grammar."""
    texts: dict[str, list[str]] = defaultdict(list)
    for file in files:
        if file.language in GRAMMARS and len(file.text) < 1_000_000 and sum(map(len, texts[file.language])) < MOST:
            texts[file.language].append(file.text)
    found = {}
    for language, chosen in sorted(texts.items()):
        parser, _ = _tools(language)
        start = time.process_time()
        partless = sum(not any(spans(text, language).values()) and text.count("\n") >= 10 for text in chosen)
        seconds, size = time.process_time() - start, sum(map(len, chosen)) / 1e6
        unparsed = sum(parser.parse(text.encode()).root_node.has_error for text in chosen)
        found[language] = {
            "files": len(chosen),
            "mb": round(size, 2),
            "mb_per_cpu_s": round(size / seconds, 2),
            "unparsed": unparsed,
            "partless": partless,
        }
    return found


def ordering(files: Sequence[SourceFile]) -> dict[str, float]:
    """Cost of reading imports and putting one repository's files in order."""
    start = time.process_time()
    imported_first(files)
    seconds = time.process_time() - start
    return {
        "files": len(files),
        "ms": round(seconds * 1000, 1),
        "mb_per_cpu_s": round(sum(len(file.text) for file in files) / 1e6 / seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="*", help="git repositories, name=path")
    parser.add_argument("--folder", type=Path, help="a folder of source files instead")
    arguments = parser.parse_args()
    repositories = open_repositories(arguments.repositories, "HEAD") if arguments.repositories else []
    read = {each.name: [*read_files(each, Tally())] for each in repositories}
    if arguments.folder:
        read["folder"] = [*in_folder(arguments.folder)]
    files = [file for group in read.values() for file in group]
    print(json.dumps({"parts": by_language(files), "imports": {name: ordering(group) for name, group in read.items()}}, indent=1))


if __name__ == "__main__":
    main()
