"""What is printed fits a terminal of 80 columns: nothing is cut."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.__main__ import main
from finetune.catalogue import KINDS, catalogue
from finetune.commands import VERBS
from finetune.data.report import BuildReport, Counts, Source, SplitCheck, Tokens
from finetune.data.report import table as build_table
from finetune.export import table as export_table
from finetune.exporters import EXPORTERS, MergeReport
from finetune.exporters.base import Losses
from finetune.methods import METHODS
from finetune.recipe import Recipe, parse_recipe
from finetune.train.result import TrainResult
from finetune.train.result import table as train_table

COLUMNS = 80


def rendered(what: Any) -> str:
    """As on a terminal of 80 columns; no line is longer and nothing ends in dots of ours or of the table's."""
    from rich.console import Console

    console = Console(width=COLUMNS)
    with console.capture() as captured:
        console.print(what)
    text = captured.get()
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert "…" not in text
    return text


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_every_list_names_its_choices_whole(kind: str) -> None:
    words = rendered(catalogue(kind)).split()
    if kind in ("", "methods"):
        assert {name for name, _ in METHODS} <= set(words)
    if kind in ("", "exporters"):
        assert {name for name, _ in EXPORTERS} <= set(words)


def test_the_list_of_methods_says_what_each_can_do_and_its_options() -> None:
    text = rendered(catalogue("methods"))
    for kind, method in METHODS:
        about = text.split(f"\n{kind} ")[1].split("\n\n")[0]
        if not method.refused:
            able = {"on nf4 and int8": method.trains_quantised, "merges": method.merges, "packed rows": method.packs}
            line = "; ".join(f"{what}: {'yes' if each else 'no'}" for what, each in able.items())
            assert line in about.split("\n          ")[0] + " ".join(about.split()), kind
    assert "Not offered:" in text


def leaves(section: Any, prefix: str = "") -> dict[str, Any]:
    """The keys of a recipe whose values are plain, by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        if isinstance(value, dict) and value and "kind" not in value:
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def test_the_list_of_a_recipes_keys_is_complete_and_what_it_says_can_be_written() -> None:
    text = rendered(catalogue("recipe"))
    keys = leaves(Recipe().model_dump(mode="json")).keys() - {"sweep.search"}
    assert not [key for key in keys if f"{key}:" not in text]
    assert "sweep.search.trials: 20" in text, "a section that is empty by default, too"
    assert "one of none, nf4, int8" in text
    said = {
        key: text.split(f"\n{key}: ")[1].split("  ")[0].split("\n")[0] for key in ("train.max_grad_norm", "data.packing", "train.epochs")
    }
    assert parse_recipe("", [f"{key}={value}" for key, value in said.items()]) == parse_recipe("", [])


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_help_fits(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    with pytest.raises(SystemExit) as ended:
        main([*([verb] if verb else []), "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert max(map(len, shown.splitlines())) <= COLUMNS
    assert verb or all(f"\n    {name} " in shown for name in VERBS)


def test_a_build_shows_its_longest_reasons_and_licences_whole() -> None:
    reason, licence = "subject_without_imperative", "LicenseRef-scancode-proprietary-license"
    dropped = {reason: 1234567, "held_out_near_copy": 3}
    counts = Counts(12345678, 11111108, dropped)
    report = BuildReport(
        repositories=(Source("a-team/its-service", "/srv/git/" + "deep/" * 20 + "service.git", "0123456789abcdef"),),
        items=counts,
        files=counts,
        changes=counts,
        samples={"repository": {"train": 1234567, "valid": 123456}},
        rows={"train": 1, "valid": 1},
        tokens=Tokens(12345678901, 1234567890, 12345678901, 5, 0.987),
        redactions={"password_in_url": 3},
        languages={"Jupyter Notebook": 2},
        licences={f"Apache-2.0 WITH LLVM-exception AND {licence} AND BSD-3-Clause AND {licence}": 2},
        heldout=3,
        split=SplitCheck(0.7, 1, 1, 0),
        sides={"train": 1, "valid": 1},
        benchmarks={},
        engine="tokenizers",
        shards={},
        lines=Counts(12, 12, {}),
        instructions={"unit_tests": counts},
    )
    words = rendered(build_table(report)).split()
    assert {reason, licence, "12,345,678", "12,345,678,901", "0123456789ab"} <= set(words)


def test_a_training_and_an_export_show_their_figures_whole() -> None:
    done = TrainResult(
        steps=100_000,
        tokens=12_345_678_901,
        loss=1.25,
        valid_loss=1.5,
        valid_loss_before=2.5,
        seconds=123_456.0,
        trainable=123_456_789,
        total=15_515_334_656,
        share=1.0,
        kept_step=99_000,
    )
    assert "12,345,678,901" in rendered(train_table(done)).split()
    one = MergeReport(
        base="dequantized", kl=1.25e-12, effect=0.0125, top1=1.0, max_abs_logit_difference=0.000123, tolerance=1.25e-4, passed=True,
        loss=Losses(1.0, 0.9, 0.9), greedy_equal=4, greedy_prompts=4, tokens=4096, rows_from="valid", dtype="bfloat16", strength=1.0,
    )  # fmt: skip
    merged = replace(one, other=replace(one, base="original"))
    forms = [merged, replace(one, form="adapter"), replace(one, form="gguf", dtype="q5_k_m"), replace(one, form="gguf_lora", dtype="f16")]
    words = rendered(export_table(forms)).split()
    assert words.count("1.25e-12") == 5
    assert words.count("bfloat16") == 3
    assert {"merged", "adapter", "gguf", "gguf_lora", "dequantized", "original"} <= set(words)


def test_the_demo_names_verbs_that_exist_each_command_whole_on_its_line() -> None:
    from finetune.tour import next_commands

    lines = next_commands(parse_recipe("", ["runs=a/long way/from here"], name="demo-of-a-repository")).splitlines()
    commands = [part for line in lines[::2] for part in line.split("&&")]
    verbs = [words[1] for command in commands if (words := shlex.split(command))[0].endswith("finetune")]
    assert set(verbs) <= set(VERBS)
    assert {"compare", "why", "export", "serve"} <= set(verbs)
    assert all(shlex.quote("a/long way/from here/demo-of-a-repository") in command for command in commands)


def test_a_plan_for_no_card_in_particular_shows_what_each_fits_and_what_has_an_adapter(tiny_base: Path, tmp_path: Path) -> None:
    from finetune.plan import plan, table

    settings = (f"model.path={tiny_base}", f"runs={tmp_path}", "data.row_length=128", "adapter={kind: lora, targets: [c_fc]}")
    text = rendered(table(plan(parse_recipe("", settings))))
    shown = text.split("what this recipe fits")[1]
    assert all(f" {size} GiB " in shown for size in (8, 12, 16, 24, 40, 48, 80))
    of_a_block = 2 * 64 * 64 + 2 * 64 * 32 + 2 * 64 * 128
    assert f"{64 * 128 / of_a_block:.1%} of the blocks' linear weights have an adapter" in " ".join(text.split())


def test_what_a_training_says_at_its_end_names_the_share_of_weights_with_an_adapter() -> None:
    found = TrainResult(3, 300, 1.5, 1.25, 2.5, 2.0, trainable=50, total=1000, share=0.125)
    words = " ".join(rendered(train_table(found)).split())
    for told in ("linear weights with an adapter", "12.5%", "50 of 1,000 (5.00%)", "2.5000 before, 1.2500 after", "300 in 2 s (150/s)"):
        assert told in words
