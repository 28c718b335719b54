"""The decision table, the table of samples and the data card say what report.json, the lists and the rows say."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from office import GPL, commit, module

from finetune.base import read_base
from finetune.data.build import BuildReport, build
from finetune.data.build.card import card
from finetune.data.exports import read_told
from finetune.data.render import Encoder
from finetune.data.show import samples
from finetune.data.tables import DECISIONS, SAMPLES, Row, SampleRow, read_table
from finetune.recipe import Recipe, parse_recipe
from finetune.run import Run, open_run

HEAD = re.compile(r"\A---\n(.*?)---\n", re.DOTALL)


def recipe_for(folder: Path, base: Path, runs: Path, **data: Any) -> Recipe:
    values = {"repositories": [f"office={folder}"], "row_length": 256, "valid_share": 0.3} | data
    return parse_recipe(json.dumps({"name": "office", "runs": str(runs), "model": {"path": str(base)}, "data": values}))


@pytest.fixture(scope="module")
def built(office: Path, byte_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, BuildReport]:
    runs = tmp_path_factory.mktemp("tables")
    (runs / "opt-out").write_text("path: src/part11.py\n")
    (runs / "bench.jsonl").write_text(json.dumps({"task_id": "T/1", "solution": module("part10")}) + "\n")
    recipe = recipe_for(office, byte_base, runs, opt_out=[str(runs / "opt-out")], decontaminate=[str(runs / "bench.jsonl")])
    report = build(recipe)
    return open_run(recipe), report


def rows_of(run: Run) -> list[Row]:
    return [*read_table(Row, run.data / DECISIONS)]


def encoder_of(run: Run) -> Encoder:
    base = read_base(run.recipe.model)
    return Encoder(base.tokenizer, base.family)


def test_every_path_and_every_commit_has_one_line(built: tuple[Run, BuildReport]) -> None:
    run, report = built
    rows = rows_of(run)
    for kind, counts in (("file", report.files), ("commit", report.changes)):
        ours = [row for row in rows if row.kind == kind]
        assert len(ours) == counts.read == len({(row.repo, row.commit, row.path) for row in ours})
        assert Counter(row.reason for row in ours if row.reason) == Counter(counts.dropped)
        assert sum(row.reason is None for row in ours) == counts.kept
    assert all((row.side is None) == (row.reason is not None) for row in rows)


def test_the_list_of_what_was_left_out_is_the_table_without_what_was_kept(built: tuple[Run, BuildReport]) -> None:
    run, _ = built
    lines = [json.loads(line) for line in (run.data / "decisions.jsonl").read_text().splitlines()]
    listed = Counter((each["repo"], each["commit"], each["path"], each["reason"], each.get("detail")) for each in lines)
    assert listed == Counter((row.repo, row.commit, row.path, row.reason, row.detail) for row in rows_of(run) if row.reason)


def test_a_line_tells_language_licence_size_and_what_came_of_it(built: tuple[Run, BuildReport], office: Path) -> None:
    run, _ = built
    rows = {row.path: row for row in rows_of(run) if row.kind == "file"}
    assert (rows["src/part1.py"].reason, rows["src/twin.py"].reason) == ("near_copy", None)  # the longer one stays
    assert rows["src/part1.py"].detail is not None and rows["src/part1.py"].detail.startswith("office: src/twin.py (0.")
    assert (rows["contrib/parser/parse.py"].license, rows["contrib/parser/parse.py"].reason) == (
        "GPL-3.0-or-later",
        "licence_not_permissive",
    )
    assert (rows["src/part11.py"].reason, rows["src/part10.py"].reason) == ("opted_out_path", "benchmark")
    assert rows["src/keys.py"].redactions == 1 and rows["src/twin.py"].redactions == 0
    assert (rows["logo.png"].bytes, rows["logo.png"].language) == (6, None)
    for path, row in rows.items():
        if row.reason is None:
            assert (row.bytes, row.language, row.license) == ((office / path).stat().st_size, "Python", "MIT")
            assert row.samples > 0


def test_the_table_of_samples_lies_beside_the_rows_and_names_where_each_is_from(built: tuple[Run, BuildReport]) -> None:
    run, report = built
    listed = [*read_table(SampleRow, run.data / SAMPLES)]
    for side in ("train", "valid"):
        ours = [each for each in listed if each.side == side]
        assert [each.tokens for each in ours] == [len(tokens) for tokens in samples(run.data / side)]
        assert Counter(each.miner for each in ours) == {miner: made[side] for miner, made in report.samples.items() if made[side]}
        assert max(each.row for each in ours) == report.rows[side] - 1
        stored = [[token.id for token in tokens] for tokens in samples(run.data / side)]
        assert [list(told.ids) for told in read_told(run.data, side, encoder_of(run))] == stored
    made = Counter((each.repo, each.commit, path) for each in listed for path in each.paths)
    counted = Counter[tuple[str, str, str]]()
    for row in rows_of(run):
        counted[row.repo, row.commit, row.path] += row.samples  # a file and the change that made it what it is are two lines
    assert made == +counted


def test_a_sample_told_as_text_is_made_of_its_file(built: tuple[Run, BuildReport], office: Path) -> None:
    run, _ = built
    for told in read_told(run.data, "train", encoder_of(run)):
        if told.row.miner == "fim":
            text = (office / told.row.paths[0]).read_text()
            sentinels = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
            answer = told.segments[-1].text.removesuffix(told.end)
            assert answer in text or "KEY" in answer
            assert sum(segment.text.count(word) for segment in told.segments for word in sentinels) >= (3 if len(told.segments) > 1 else 0)


def test_copyleft_brought_in_goes_and_own_copyleft_stays(office: Path, byte_base: Path, tmp_path: Path) -> None:
    from office import make_office

    own = make_office(tmp_path / "own")
    commit(own, "License it all under the terms we like", {"LICENSE": GPL})
    sides = ("train", "valid")
    for name, folder in (("brought", office), ("own", own)):
        run = open_run(recipe := recipe_for(folder, byte_base, tmp_path / name))
        build(recipe)
        row = next(row for row in rows_of(run) if row.path == "contrib/parser/parse.py" and row.kind == "file")
        assert row.license == "GPL-3.0-or-later"
        assert row.reason == ("licence_not_permissive" if name == "brought" else None)
        licences = {licence for each in read_table(SampleRow, run.data / SAMPLES) for licence in each.licenses}
        assert licences == {"MIT" if name == "brought" else "GPL-3.0-or-later"}
        assert {each.side for each in read_table(SampleRow, run.data / SAMPLES)} == {*sides}
    run = open_run(recipe := recipe_for(office, byte_base, tmp_path / "allowed", licences={"allow": ["GPL-3.0-or-later"]}))
    build(recipe)
    parse = [each for each in read_table(SampleRow, run.data / SAMPLES) if "contrib/parser/parse.py" in each.paths]
    assert parse and all([*each.licenses] == ["GPL-3.0-or-later"] for each in parse)


def numbers_in(card: str, section: str) -> dict[str, list[str]]:
    """The lines of a section's tables: first cell, the others."""
    text = card.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines}


def test_the_cards_numbers_are_those_of_the_report(built: tuple[Run, BuildReport]) -> None:
    run, _ = built
    report = json.loads((run.data / "report.json").read_text())
    text = (run.data / "README.md").read_text()
    sources = numbers_in(text, "Sources")
    assert {name: cells[0] for name, cells in sources.items() if name in {"office", "Python", "MIT"}} == {
        "office": report["repositories"][0]["commit"],
        "Python": str(report["languages"]["Python"]),
        "MIT": str(report["licences"]["MIT"]),
    }
    left_out = numbers_in(text, "Read, kept, left out")
    parts = [report[part] for part in ("files", "changes", "items")]
    assert left_out["read"] == [str(part["read"]) for part in parts]
    assert left_out["kept"] == [str(part["kept"]) for part in parts]
    reasons = {name.removeprefix("left out: "): cells for name, cells in left_out.items() if name.startswith("left out: ")}
    assert reasons == {reason: [str(part["dropped"].get(reason, 0)) for part in parts] for reason in report["items"]["dropped"]}
    made = numbers_in(text, "Samples")
    assert {name: cells for name, cells in made.items() if name.startswith("samples: ")} == {
        f"samples: {miner}": [str(sides["train"]), str(sides["valid"])] for miner, sides in report["samples"].items()
    }
    assert made["tokens"] == [str(report["tokens"]["train"]), str(report["tokens"]["valid"])]
    governance = numbers_in(text, "Governance")
    assert {kind: governance[kind] for kind in report["redactions"]} == {kind: [str(n)] for kind, n in report["redactions"].items()}
    assert governance["opted_out_path"] == [str(report["items"]["dropped"]["opted_out_path"])]
    texts = report["benchmark_texts"]["bench.jsonl"]
    assert governance["bench.jsonl"] == [
        str(each) for each in (report["benchmarks"]["bench.jsonl"], texts["wanted"], texts["too_short"], texts["shared"])
    ]
    assert report["benchmarks"] == {"bench.jsonl": report["items"]["dropped"]["benchmark"]}
    apart = numbers_in(text, "Copies and the split")
    assert apart["files on the train side"] == [str(report["sides"]["train"])]
    assert apart["files on the valid side"] == [str(report["sides"]["valid"])] == [str(report["heldout"])]
    assert apart["left out: near_copy"] == [str(report["items"]["dropped"]["near_copy"])]
    shards = numbers_in(text, "What lies here")
    assert {name: cells[0] for name, cells in shards.items() if name in report["shards"] and len(cells[0]) == 64} == report["shards"]
    assert report["sides"]["train"] + report["sides"]["valid"] == report["files"]["kept"]


def test_the_card_adds_up_who_opted_out(built: tuple[Run, BuildReport]) -> None:
    run, report = built
    dropped = {"opted_out_path": 2, "opted_out_author": 3, "symlink": 7}
    text = card(replace(report, items=replace(report.items, dropped=dropped)), run.recipe)
    assert ": 5 files and commits left out." in text


def test_the_hashes_are_those_of_every_file_and_stand_in_the_manifest(built: tuple[Run, BuildReport]) -> None:
    run, report = built
    files = {path.relative_to(run.data).as_posix(): path for path in run.data.rglob("*") if path.is_file()}
    assert {*files} == {*report.shards, "report.json", "README.md"}
    assert report.shards == {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in report.shards}
    mark = run.mark("build")
    assert (mark["shards"], mark["tokenizer_engine"]) == (report.shards, encoder_of(run).engine)
    assert report.engine in (run.data / "README.md").read_text()


def test_the_hub_and_datasets_read_the_card_and_the_rows(built: tuple[Run, BuildReport], tmp_path: Path) -> None:
    from datasets import load_dataset, load_from_disk
    from huggingface_hub import DatasetCard

    run, report = built
    header = DatasetCard.load(run.data / "README.md").data.to_dict()
    assert (header["size_categories"], header["pretty_name"]) == (["n<1K"], "office")
    assert not DatasetCard.load(run.data / "README.md").text.startswith("---")
    loaded = load_dataset(str(run.data), cache_dir=str(tmp_path))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": report.rows["train"], "validation": report.rows["valid"]}
    for side, name in (("train", "train"), ("valid", "validation")):
        disk = load_from_disk(str(run.data / side))
        assert disk.features["input_ids"].feature.dtype == "uint16"
        assert disk["input_ids"][:] == loaded[name]["input_ids"][:]


def test_no_secret_and_no_path_of_this_machine_is_in_the_card(built: tuple[Run, BuildReport], office: Path) -> None:
    run, _ = built
    text = (run.data / "README.md").read_text()
    assert str(office) not in text and str(run.folder) not in text
    assert "redactions.jsonl" in text


def test_an_empty_table_and_missing_values_come_back_as_they_were(tmp_path: Path) -> None:
    from finetune.data.tables import write_table

    rows = [
        Row("file", "r", "c", "ä\\xff", None, None, None, None, "binary", None, 0, 0),
        Row("commit", "r", "c2", "", "Python", "MIT", 2**40, "train", None, "", 7, 1),
    ]
    assert write_table(rows, Row, tmp_path / "rows") == 2
    assert [*read_table(Row, tmp_path / "rows")] == rows
    listed = [
        SampleRow("train", 0, 3, "fim", "r", "c", ["a", "b"], ["MIT", None], [0, 3], []),
        SampleRow("valid", 1, 1, "", "", "", [], [], [], []),
    ]
    write_table(listed, SampleRow, tmp_path / "samples")
    assert [*read_table(SampleRow, tmp_path / "samples")] == listed
    assert write_table([], Row, tmp_path / "none") == 0
    assert [*read_table(Row, tmp_path / "none")] == []
