"""The licence files that a base asks for, and the name of its licence."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from finetune.base import DEMO, BaseFolder
from finetune.data.licences import is_licence_file, licence_of_file
from finetune.data.spdx import UNKNOWN
from finetune.errors import ExportError
from finetune.files import READABLE

_TERMS = ("LICENSE", "LICENCE", "COPYING", "NOTICE")
OPENRAIL = "bigcode-openrail-m"


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
    named = _named(base.path / "README.md")
    if named is not None:
        return named
    found = {licence_of_file(_text(path)) for path in _terms(base) if is_licence_file(path.name)}
    return found.pop().lower() if len(found) == 1 and UNKNOWN not in found else base.family.licence


def _named(card: Path) -> str | None:
    """The licence in the header of a model card, None when it names none. Raises ExportError for a header that can not be read."""
    lines = _text(card).splitlines() if card.is_file() else []
    marks = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(marks) < 2 or marks[0] != 0:
        return None
    try:
        header = yaml.safe_load("\n".join(lines[1 : marks[1]]))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{card}:{mark.line + 2}" if mark else str(card)
        raise ExportError(
            f"{place}: no valid YAML ({getattr(error, 'problem', error)}); write for example license: apache-2.0 between the two lines ---"
        ) from error
    header = header if isinstance(header, dict) else {}
    named = header.get("license_name") or header.get("license")
    names = named if isinstance(named, list) else [named]
    if not all(isinstance(name, str | None) for name in names):
        raise ExportError(f"{card}: license is a {type(named).__name__}; write its name, for example license: apache-2.0")
    return ", ".join(name for name in names if name) or None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExportError(f"{path}: no UTF-8 text (byte {error.start}); save it as UTF-8 and export again") from error


def _terms(base: BaseFolder) -> list[Path]:
    """The licence and notice files beside the base's weights."""
    return sorted(path for path in base.path.iterdir() if path.is_file() and path.name.upper().startswith(_TERMS))


def check_terms(base: BaseFolder) -> str:
    """The name of the base's licence. Raises ExportError where the terms are not known or can not be read: ask before the long work."""
    licence = licence_of(base)
    for path in _terms(base):
        _text(path)
    if not _holds_licence(base) and (licence != base.family.licence or base.family.licence_url is None):
        raise ExportError(
            f"{base.path}: no LICENSE beside the base's weights ({licence}); copy the base model's LICENSE file there and export again"
        )
    return licence


def _holds_licence(base: BaseFolder) -> bool:
    return not all(path.name.upper().startswith("NOTICE") for path in _terms(base))


def write_terms(folder: Path, base: BaseFolder) -> str:
    """The base's licence files into `folder`; gives the licence's name. Raises ExportError as `check_terms` does.

    A family whose licence has a public address is referred to by it when the base's folder holds no copy.
    """
    licence = check_terms(base)
    copied = [path.name for path in _terms(base)]
    for name in copied:
        shutil.copyfile(base.path / name, folder / name)
    if not _holds_licence(base):
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


def check_terms_written(folder: Path, base: BaseFolder) -> None:
    """Raises ExportError unless the licence, and the duties of BigCode's, lie in `folder`."""
    owed = [path.name for path in _terms(base)]
    owed += [] if _holds_licence(base) else ["LICENSE"]
    owed += ["NOTICE"] if licence_of(base) == OPENRAIL else []
    for name in owed:
        if not (folder / name).is_file() or not _text(folder / name).strip():
            raise ExportError(
                f"export: no {name} in its folder, which goes with every copy under {licence_of(base)}; type finetune export again"
            )


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
