"""What a package says its licence is, read from its own metadata, and whether that is permissive."""

from __future__ import annotations

import json
import re
from email.parser import HeaderParser
from pathlib import Path

# A licence expression is permissive when every word of it is one of these (an "or" may name others too).
PERMISSIVE = {
    "0bsd", "apache", "apache-2.0", "asl", "bsd", "bsd-1-clause", "bsd-2-clause", "bsd-3-clause", "bsd-4-clause", "blueoak-1.0.0",
    "cc0-1.0", "cnri-python", "curl", "expat", "go", "hpnd", "isc", "libpng", "lua", "mit", "mit-1", "mit-0", "mit-cmu", "mit-x11", "ncsa",
    "psf-2.0", "python-2.0", "public-domain", "unicode", "unlicense", "x11", "zlib", "boost-1.0", "bsl-1.0",
}  # fmt: skip
COPYLEFT = re.compile(r"\b(a?gpl|lgpl|mpl|epl|cddl|cpl|eupl|sspl|busl|osl|gfdl|cecill)", re.IGNORECASE)
# Licence texts, by a sentence only they have.
TEXTS = [
    ("Apache-2.0", "apache license"),
    ("PSF-2.0", "python software foundation license"),
    ("BSD-3-Clause", "neither the name of"),
    ("MIT", "permission is hereby granted, free of charge"),
    ("ISC", "permission to use, copy, modify, and/or distribute this software"),
    ("BSD-2-Clause", "redistributions in binary form must reproduce"),
    ("Zlib", "altered source versions must be plainly marked"),
]


def licence(folder: Path, ecosystem: str) -> str:
    """The package's licence as an SPDX-like expression, or "" where it can not be told."""
    match ecosystem:
        case "pypi":
            return _wheel_licence(folder)
        case "npm":
            found = json.loads((folder / "package" / "package.json").read_text()).get("license", "")
            return found if isinstance(found, str) else str(found.get("type", ""))
        case _:
            return _debian_licence(folder)


def version(folder: Path, ecosystem: str) -> str:
    """The version of an unpacked package."""
    archives = folder.with_name(folder.name + ".archives")
    match ecosystem:
        case "pypi":
            return str(HeaderParser().parsestr(next(folder.glob("*.dist-info/METADATA")).read_text(errors="replace"))["Version"])
        case "npm":
            return str(json.loads((folder / "package" / "package.json").read_text())["version"])
        case "deb":
            return next(archives.glob("*.deb")).name.split("_")[1].replace("%3a", ":")
        case _:
            lines = next(archives.glob("*.dsc")).read_text().splitlines()
            return next(line for line in lines if line.startswith("Version: ")).removeprefix("Version: ")


def permissive(expression: str) -> bool:
    """Whether the whole expression, or one side of an `or`, asks for no more than a notice."""
    sides = re.split(r"\bor\b", expression, flags=re.IGNORECASE)
    return any(_all_permissive(side) for side in sides)


def _all_permissive(side: str) -> bool:
    words = [word for word in re.findall(r"[\w.+-]+", side.lower()) if word not in {"and", "with", "llvm-exception"}]
    return bool(words) and all(word in PERMISSIVE for word in words)


def _wheel_licence(folder: Path) -> str:
    metadata = HeaderParser().parsestr(next(folder.glob("*.dist-info/METADATA")).read_text(errors="replace"))
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [value for value in metadata.get_all("Classifier", []) if value.startswith("License ::")]
    named = " ".join([str(metadata.get("License", ""))[:200], *classifiers])
    if COPYLEFT.search(named):
        return "copyleft"
    texts = [path.read_text(errors="replace") for path in sorted(folder.glob("*.dist-info/**/*")) if _is_licence_file(path)]
    return _by_text("\n".join(texts)) or _by_name(named)


def _is_licence_file(path: Path) -> bool:
    return path.is_file() and re.match(r"(licen[cs]e|copying)", path.name, re.IGNORECASE) is not None


def _by_text(text: str) -> str:
    flat = " ".join(text.lower().split())
    return next((name for name, sentence in TEXTS if sentence in flat), "")


def _by_name(named: str) -> str:
    for word, name in [("apache", "Apache-2.0"), ("bsd", "BSD-3-Clause"), ("mit", "MIT"), ("isc", "ISC")]:
        if re.search(rf"\b{word}\b", named, re.IGNORECASE):
            return name
    return ""


def _debian_licence(folder: Path) -> str:
    """The licence of `Files: *` in Debian's machine-readable copyright file, else the first licence named in it."""
    paths = [*folder.glob("debian/copyright"), *folder.glob("usr/share/doc/*/copyright")]
    if not paths:
        return ""
    text = paths[0].read_text(errors="replace")
    stanzas = re.split(r"\n\s*\n", text)
    for stanza in stanzas:
        if re.search(r"^Files:\s*\*", stanza, re.MULTILINE) and (found := re.search(r"^License:[ \t]*(\S.*)$", stanza, re.MULTILINE)):
            return found[1].strip()
    return _by_text(text)
