"""Licence texts to SPDX identifiers: agreement with what packages declare and texts a CPU-second, beside ScanCode.

    python -m venv PEER && PEER/bin/pip install scancode-toolkit pluggy==1.5.0
    python benchmarks/licences.py --peer-python PEER/bin/python [FOLDER ...]

The labelled set: every installed distribution or npm package in the folders (this environment's by default, the peer's too when it is
named) that declares one SPDX identifier and carries exactly one licence file of at most 36 kB (the GPL's length: longer ones are
collections of bundled licences, which one identifier does not label); and every licence text that a Debian package's copyright file in
them (`/usr/share/doc`) quotes whole below its short name. Distinct texts only. Both sides get the same texts in one process each, after one
text to warm up; CPU-seconds.
`agree`: what is found is what is declared, and nothing else; whether later versions may be taken is not asked, for the GPL's text does
not say. `declared_among_found`: it is among what is found, as in a file that holds the licences of bundled code too.
`agree_with_text`: the same where a label contradicts its text, by what the text is; licence_labels.json has those labels, each with why.
"""

from __future__ import annotations

import argparse
import email.parser
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from finetune.data.licences import is_licence_file, licence_of_file
from finetune.data.spdx import categories

LONGEST = 36_000
CORRECTED = Path(__file__).with_name("licence_labels.json")
SHORTEST = 200  # characters of a text in a copyright file: shorter ones are remarks
# Debian's short names (its copyright format 1.0) where they are not SPDX's; "" where they name no one licence.
DEBIAN = {
    "apache": "",
    "artistic": "artistic-1.0-perl",
    "boost-1.0": "bsl-1.0",
    "bsd-2": "bsd-2-clause",
    "bsd-3": "bsd-3-clause",
    "cc0": "cc0-1.0",
    "expat": "mit",
    "python": "",
    "sil-1.1": "ofl-1.1",
}
GNU = re.compile(r"(?P<name>[al]?gpl|gfdl)(?:-niv)?-(?P<major>\d)(?P<minor>\.\d)?\+?")
PARAGRAPH = re.compile(r"\n[ \t]*\n(?=\S)")
QUOTED = re.compile(r"^License:[ \t]*(?P<name>\S+)[ \t]*\n(?P<text>(?:[ \t]+\S.*\n?)+)", re.MULTILINE)
ELSEWHERE = re.compile(r"common-licenses|file is distributed under|GNU (?:Lesser |Library )?General Public")
UNKNOWN = "Lorem ipsum dolor sit amet. " * 300  # no licence: what reads those that are unknown is made ready too
# Reads a folder of texts; writes the CPU-seconds and the SPDX identifiers found in each.
PEER = """
import json, sys, time
from pathlib import Path
from scancode.api import get_licenses
paths = sorted(Path(sys.argv[1]).iterdir())
get_licenses(str(paths[0]))
Path(sys.argv[2]).write_text("Lorem ipsum dolor sit amet. " * 300)
get_licenses(sys.argv[2])
start = time.process_time()
found = {path.name: get_licenses(str(path))["detected_license_expression_spdx"] or "" for path in paths}
json.dump({"seconds": time.process_time() - start, "found": found}, open(sys.argv[2], "w"))
"""


def main() -> None:
    options = _options()
    roots = options.folders or [Path(sys.prefix), *([options.peer_python.absolute().parent.parent] if options.peer_python else [])]
    labelled = dict(sorted(texts(roots)))
    for text in (next(iter(labelled)), UNKNOWN):
        licence_of_file(text)
    start = time.process_time()
    found = [licence_of_file(text) for text in labelled]
    seconds = time.process_time() - start
    result = {"texts": len(labelled), "octotune": rates(found, seconds, labelled)}
    if options.peer_python:
        found, peer_seconds = peer(options.peer_python, list(labelled))
        result |= {"scancode": rates(found, peer_seconds, labelled), "ratio": round(peer_seconds / seconds, 1)}
    print(json.dumps(result, indent=1))


def texts(roots: list[Path]) -> Iterator[tuple[str, str]]:
    """(text, declared SPDX identifier), in small letters."""
    for text, declared in (found for root in roots for found in copyright_files(root)):
        if declared in categories() and SHORTEST <= len(text) <= LONGEST:
            yield text, declared
    for folder, declared in (found for root in roots for found in (*distributions(root), *npm_packages(root))):
        files = [path for path in folder.rglob("*") if path.is_file() and is_licence_file(path.name)]
        if len(files) == 1 and files[0].stat().st_size <= LONGEST and declared.lower() in categories():
            yield files[0].read_text(encoding="utf-8", errors="replace"), declared.lower()


def distributions(root: Path) -> Iterator[tuple[Path, str]]:
    """The folder of each Python distribution's metadata, and what it declares."""
    for metadata in root.rglob("*.dist-info/METADATA"):
        declared = email.parser.HeaderParser().parsestr(metadata.read_text(encoding="utf-8", errors="replace"))["License-Expression"]
        yield metadata.parent, declared or ""


def npm_packages(root: Path) -> Iterator[tuple[Path, str]]:
    """The folder of each npm package, and what it declares."""
    for metadata in (*root.rglob("node_modules/*/package.json"), *root.rglob("node_modules/@*/*/package.json")):
        declared = json.loads(metadata.read_text(encoding="utf-8")).get("license")
        yield metadata.parent, declared if isinstance(declared, str) else ""


def copyright_files(root: Path) -> Iterator[tuple[str, str]]:
    """Each licence text that a Debian package's copyright file quotes, and its SPDX identifier in small letters.

    Left out are those that only say where the licence can be read: pointers, and the notices of the GPL's family.
    """
    for path in sorted(root.glob("*/copyright")):
        content = path.read_text(encoding="utf-8", errors="replace")
        for paragraph in PARAGRAPH.split(content) if "copyright-format" in content[:400] else ():
            if found := QUOTED.search(paragraph + "\n"):
                text = "\n".join("" if line.strip() == "." else line[1:] for line in found["text"].split("\n"))
                if not ELSEWHERE.search(text[:2000]) or len(text) > 2000:
                    yield text, debian_name(found["name"].lower())


def debian_name(name: str) -> str:
    if gnu := GNU.fullmatch(name):
        return f"{gnu['name']}-{gnu['major']}{gnu['minor'] or '.0'}"
    return DEBIAN.get(name, name)


def peer(python: Path, labelled: list[str]) -> tuple[list[str], float]:
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch) / "texts", Path(scratch) / "found.json"
        folder.mkdir()
        for place, text in enumerate(labelled):
            (folder / f"{place:05}").write_text(text, encoding="utf-8")
        subprocess.run([str(python.absolute()), "-W", "ignore", "-c", PEER, str(folder), str(out)], check=True, stdout=subprocess.DEVNULL)
        result = json.loads(out.read_text())
    return [result["found"][f"{place:05}"] for place in range(len(labelled))], result["seconds"]


def names(expression: str) -> set[str]:
    """The identifiers in an expression, in small letters; whether later versions are meant no text of the GPL says, nor does this."""
    words = expression.lower().replace("(", " ").replace(")", " ").split()
    words = [word.removesuffix(".1") if word.startswith("python-2.0") else word for word in words]  # the same stack, in two versions
    return {word.removesuffix("-only").removesuffix("-or-later").removesuffix("+") for word in words} - {"and", "or", "with"}


def rates(found: list[str], seconds: float, labelled: dict[str, str]) -> dict:
    within = sum(names(declared) <= names(each) for each, declared in zip(found, labelled.values(), strict=True))
    wrong = [f"{declared}: {each}" for each, declared in zip(found, labelled.values(), strict=True) if names(each) != names(declared)]
    corrected = json.loads(CORRECTED.read_text())
    keys = {text: hashlib.sha256(text.encode()).hexdigest()[:16] for text in labelled}
    by_text = {text: corrected[key]["text"] if (key := keys[text]) in corrected else declared for text, declared in labelled.items()}
    return {
        "cpu_seconds": round(seconds, 3),
        "texts_per_cpu_second": round(len(found) / seconds, 1),
        "agree": len(found) - len(wrong),
        "agree_with_text": sum(names(each) == names(label) for each, label in zip(found, by_text.values(), strict=True)),
        "declared_among_found": within,
        "differ": wrong,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--peer-python", type=Path, help="a Python that has scancode-toolkit")
    return parser.parse_args()


if __name__ == "__main__":
    main()
