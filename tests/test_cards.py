"""Model cards and licence files: what a base asks for goes along, and nothing is claimed that was not measured."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune.base import BaseFolder, read_base
from finetune.cards import Facts, card, check_card, check_terms, licence_of, public_name, write_card, write_terms
from finetune.errors import ExportError
from finetune.exporters import Losses, MergeReport
from finetune.families import plain_family
from finetune.recipe import ModelSection, Recipe

REPORT = MergeReport(
    base="dequantized",
    kl=2.5e-5,
    effect=0.125,
    top1=0.9951,
    max_abs_logit_difference=0.031,
    tolerance=1.25e-3,
    passed=True,
    loss=Losses(base=2.5, adapter=2.25, exported=2.2501),
    greedy_equal=4,
    greedy_prompts=4,
    tokens=2048,
    rows_from="valid",
    dtype="bfloat16",
    strength=1.0,
)
DATA: dict[str, Any] = {
    "repositories": [{"name": "shop", "path": "/home/ann/shop", "commit": "a" * 40}],
    "items": {"read": 100, "kept": 90, "dropped": {"generated file": 6, "an exact copy": 4}},
    "samples": {"fim": {"train": 80, "valid": 9}},
    "tokens": {"train": 12345},
    "redactions": {"email": 3},
}
ESTIMATE = {"value": 1.5, "low": 1.25, "high": 1.75, "n": 40}
EVALUATION = {
    "metrics": {
        "bits_per_byte": {
            "base": ESTIMATE,
            "tuned": ESTIMATE,
            "difference": {"value": -0.5, "low": -0.75, "high": -0.25},
            "verdict": "better",
        },
        "exact_match": {
            "base": ESTIMATE,
            "tuned": ESTIMATE,
            "difference": {"value": 0.01, "low": -0.02, "high": 0.04},
            "verdict": "no difference shown",
        },
    }
}


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> BaseFolder:
    """A base of its own, to put files beside."""
    folder = tmp_path / "small-coder"
    shutil.copytree(tiny_base, folder)
    return read_base(ModelSection(path=str(folder)))


def facts(base: BaseFolder, **options: Any) -> Facts:
    return Facts(
        **(
            {
                "base": base,
                "recipe": Recipe(name="shop-1"),
                "report": REPORT,
                "adapter_digest": "f" * 64,
                "data": DATA,
                "evaluation": EVALUATION,
            }
            | options
        )
    )


def test_a_bigcode_base_passes_its_duties_on(base: BaseFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_card(out, facts(base))
    notice = (out / "NOTICE").read_text()
    assert "Paragraph 4" in notice and "Attachment A" in notice and "machine generated" in notice
    assert "https://www.bigcode-project.org/docs/pages/bigcode-openrail/" in (out / "LICENSE").read_text()
    header = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    assert (header["license"], header["license_name"]) == ("other", "bigcode-openrail-m")
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}


def test_a_base_with_a_licence_of_its_own_keeps_that_one(base: BaseFolder, tmp_path: Path) -> None:
    (base.path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# small\n")
    (base.path / "LICENSE").write_text("Apache License, whole text")
    (base.path / "NOTICE.txt").write_text("made by somebody")
    out = tmp_path / "out"
    out.mkdir()
    assert write_terms(out, base) == "apache-2.0"
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        "LICENSE": "Apache License, whole text",
        "NOTICE.txt": "made by somebody",
    }
    assert "Attachment A" not in card(facts(base), "apache-2.0")


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "NOTICE"])
def test_an_export_that_lacks_its_card_its_licence_or_its_duties_is_none(base: BaseFolder, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_card(out, facts(base))
    check_card(out, base)
    (out / name).write_text("")
    with pytest.raises(ExportError, match=name):
        check_card(out, base)
    (out / name).unlink()
    with pytest.raises(ExportError, match=name):
        check_card(out, base)


def test_a_base_without_terms_can_not_be_exported(base: BaseFolder, tmp_path: Path) -> None:
    unknown = replace(base, family=plain_family("<|endoftext|>"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError, match="no LICENSE beside the base's weights .*; copy the base model's LICENSE file there"):
        write_terms(out, unknown)
    (base.path / "LICENSE").write_text("do as you like")
    assert write_terms(out, unknown) == "see the base model"


@pytest.mark.parametrize(
    "text", [b"---\nlicense: mit\n---\n", b"---\r\nlicense: mit\r\n---\r\n# x\r\n", b"\xef\xbb\xbf---\nlicense: mit\n--- \n# x\n"]
)
def test_front_matter_is_read_as_people_write_it(base: BaseFolder, text: bytes) -> None:
    (base.path / "README.md").write_bytes(text)
    assert licence_of(base) == "mit"


@pytest.mark.parametrize(
    "text", ["# a rule\n\n---\nlicense: mit\n---\n", "---\n", "---\nlicense: mit\n", "---\n- mit\n---\n", "---\nlicense: ''\n---\n", ""]
)
def test_a_card_that_names_no_licence_names_none(base: BaseFolder, text: str) -> None:
    """A rule at the top of a text that never ends is no front matter."""
    (base.path / "README.md").write_text(text)
    assert licence_of(base) == base.family.licence


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("README.md", b"---\nlicense: [mit\n---\n", r"README.md:\d: no valid YAML .*; write for example license: apache-2.0 between"),
        ("README.md", b"---\nlicense: {a: b}\n---\n", r"README.md: license is a dict; write its name, for example license: apache-2.0"),
        ("README.md", b"---\nlicense: caf\xe9\n---\n", r"README.md: no UTF-8 text \(byte 16\); save it as UTF-8"),
        ("LICENSE", b"Copyright \xa9 2020 Andr\xe9", r"LICENSE: no UTF-8 text \(byte 10\); save it as UTF-8"),
        ("NOTICE", b"\xff\xfem\0", r"NOTICE: no UTF-8 text \(byte 0\); save it as UTF-8"),
    ],
)
def test_terms_that_can_not_be_read_are_named(base: BaseFolder, name: str, text: bytes, words: str) -> None:
    (base.path / name).write_bytes(text)
    with pytest.raises(ExportError, match=words):
        check_terms(base)


def test_a_card_with_several_licences_names_them_all(base: BaseFolder) -> None:
    (base.path / "README.md").write_text("---\nlicense:\n- mit\n- apache-2.0\n---\n")
    assert licence_of(base) == "mit, apache-2.0"


def test_the_embedded_base_is_under_apache() -> None:
    demo = read_base(ModelSection(path="demo"))
    assert licence_of(demo) == "apache-2.0" and public_name(demo) == "octotune-demo"
    assert (demo.path / "LICENSE").is_file()


def test_the_card_holds_the_figures_and_no_path(base: BaseFolder) -> None:
    text = card(facts(base), "apache-2.0")
    for part in (
        base.digest,
        "f" * 64,
        "| left out: generated file | 6 |",
        "| repository shop | " + "a" * 40,
        "2.50e-05 (allowed 1.25e-03)",
        "0.9951",
    ):
        assert part in text
    assert "| bits_per_byte | 1.5 [1.25, 1.75] | 1.5 [1.25, 1.75] | -0.5 [-0.75, -0.25] | 40 |" in text
    assert "0.01 [-0.02, 0.04] (no difference shown)" in text
    assert "/home/ann" not in text and str(base.path) not in text


def test_a_base_from_the_hub_is_named_by_its_id_and_commit(base: BaseFolder, tmp_path: Path) -> None:
    hub = replace(base, name="bigcode/starcoder2-3b", path=tmp_path / "models--bigcode--starcoder2-3b" / "snapshots" / "733247c55e3f")
    text = card(facts(hub), "bigcode-openrail-m")
    assert yaml.safe_load(text.split("---\n")[1])["base_model"] == "bigcode/starcoder2-3b"
    assert "| base revision | 733247c55e3f |" in text
    assert "base_model:" not in card(facts(base), "apache-2.0")


def test_what_was_not_measured_is_said_to_be_so(base: BaseFolder) -> None:
    text = card(facts(base, evaluation=None, data=None), "apache-2.0")
    assert "Not measured" in text and "No record of the data" in text
