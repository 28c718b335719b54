"""Writes linguist.json, the table of languages, from an unpacked npm package `linguist-languages`.

python -m finetune.data.write_linguist PACKAGE_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from finetune.files import write_atomic

KEPT = ("extensions", "filenames", "interpreters")


def linguist_table(package: Path) -> dict[str, object]:
    """The table: each language's type, and its extensions (linguist's main one first), file names and interpreters."""
    about = json.loads((package / "package.json").read_text(encoding="utf-8"))
    languages = {}
    for module in sorted((package / "data").glob("*.js")):
        # Each module is one object literal, which YAML's flow style can read as it stands.
        fields = yaml.safe_load(module.read_text(encoding="utf-8").removeprefix("export default").strip().removesuffix(";"))
        languages[fields["name"]] = {"type": fields["type"]} | {key: fields[key] for key in KEPT if key in fields}
    return {
        "source": f"npm package {about['name']} {about['version']}, generated from github-linguist/linguist",
        "license": f"{about['license']}; Copyright (c) Ika (linguist-languages); Copyright (c) 2017 GitHub, Inc. (linguist)",
        "written_by": "python -m finetune.data.write_linguist",
        "languages": dict(sorted(languages.items())),
    }


def main(arguments: list[str]) -> None:
    """Puts the table beside this file."""
    table = linguist_table(Path(arguments[0]))
    languages = table.pop("languages")
    assert isinstance(languages, dict)
    head = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in table.items()]
    rows = [f"    {json.dumps(name)}: {json.dumps(row, ensure_ascii=False)}" for name, row in languages.items()]
    # One language a line, so that an update reads as a diff.
    content = "{\n" + "\n".join(head) + '\n  "languages": {\n' + ",\n".join(rows) + "\n  }\n}\n"
    write_atomic(Path(__file__).with_name("linguist.json"), content)


if __name__ == "__main__":
    main(sys.argv[1:])
