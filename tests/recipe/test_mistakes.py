"""What people write into a recipe by mistake: one message with the place, what was found and what to write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from finetune.errors import RecipeError
from finetune.recipe import parse_recipe

NO_VALUE = {
    "a day that no month has": ("data: {at: 2026-02-30}", "r.yaml:1: 2026-02-30: day is out of range for month"),
    "a month that no year has": ("data:\n  since: 2026-13-01", "r.yaml:2: 2026-13-01: month must be in 1..12"),
    "a part of itself": ("seed: 1\ndata: &data\n  include: *data", "r.yaml:2: data.include stands in itself"),
    "a control character": ("name: a\x07", "r.yaml:1: the character U\\+0007 can not stand in YAML"),
    "brackets without end": ("x: " + "[" * 3000, "r.yaml:1: nested more deeply"),
    "a pattern without quotes": ("data: {include: [*.py]}", "quote what begins with one of"),
    "nothing for a number": ("seed: !!int ''", "r.yaml:1: "),
    "a tab": ("data:\n\tinclude: []", "r.yaml:2: no valid YAML: .*indent with spaces"),
}
REFUSED = {
    "an endless rate": ("train: {learning_rate: .inf}", "train.learning_rate: found inf; write a finite number"),
    "a number beyond all": ("train: {weight_decay: 1e400}", "train.weight_decay: found inf; write a finite number"),
    "endless epochs": ("train: {epochs: .inf}", "train.epochs: found inf; write a finite number"),
    "an endless shard": ("data: {shard_mb: .inf}", "data.shard_mb: found inf; write a finite number"),
    "a seed beyond 32 bits": ("seed: 4294967296", "seed: found 4294967296; write less than 4294967296"),
    "a word in a list's place": ("data: {repositories: here}", r"data.repositories: found 'here'; write a list, for example \[here\]"),
    "a pattern in a list's place": ('data: {include: "*.py"}', r"data.include: found '\*.py'; write a list, for example \['\*.py'\]"),
    "nothing in a list's place": ("data: {repositories: }", r"data.repositories: found None; write a list, for example \[\]"),
    "nothing in a section's place": ("data:\n", "data: found None; write keys of its own below it, or leave it out"),
    "a word in a section's place": ("model: demo", "model: found 'demo'; write keys of its own below it, or leave it out"),
    "a number in a key's place": ("1: 2", "1: found 2; write a key in letters"),
    "no form of export": ("export: []", r"export: found \[\]; write at least one"),
    "a NUL in a path": ('runs: "a\\0b"', "runs: .*a path without a NUL character"),
    "half a character in a path": ('data: {repositories: ["\\ud800"]}', "data.repositories.0: .*a path in characters that can be written"),
    "no path of a repository": ("data: {repositories: ['']}", "data.repositories.0: found ''; write a path; . is the folder you are in"),
    "a name without its path": ("data: {repositories: ['mine=']}", "data.repositories.0: found 'mine='; write a path"),
    "no path of a list": ("data: {opt_out: [' ']}", "data.opt_out.0: found ' '; write a path"),
    "no path of a benchmark": ("data: {decontaminate: [{path: ''}]}", "data.decontaminate.0.path: found ''; write a path"),
    "a name with a space": ("name: my run", "name: found 'my run'; write a name of letters, digits"),
    "yes for a number of tokens": ("data: {row_length: true}", "data.row_length: found True; write a number, not true or false"),
    "no for a number that may be 0": ("seed: false", "seed: found False; write a number, not true or false"),
    "yes for a share": ("data: {valid_share: yes}", "data.valid_share: found True; write a number"),
    "no for an option of a choice": ("adapter: {kind: lora, dropout: false}", "adapter.dropout: found False; write a number"),
    "yes among several forms": (
        "export: [{kind: merged, strength: true}, adapter]",
        "export.0.strength: found True; write a number",
    ),
    "yes for a weight of an adapter": (
        "export: {kind: merged, adapters: [{path: a, weight: true}]}",
        "export.adapters.0.weight: found True; write a number",
    ),
    "yes for a bound of a search": ("sweep: {search: {space: {seed: {low: false, high: 3}}}}", ".*low: found False; write a number"),
    "an unknown licence": ("data: {licences: {allow: [mitt]}}", "data.licences.allow: .*write SPDX identifiers; 'mitt' is none"),
}


@pytest.mark.parametrize("name", NO_VALUE)
def test_what_yaml_can_not_read_is_named_with_its_line_and_cure(name: str) -> None:
    text, said = NO_VALUE[name]
    with pytest.raises(RecipeError, match=said):
        parse_recipe(text, source="r.yaml")


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_that_no_step_could_use_is_refused_when_it_is_read(name: str) -> None:
    text, said = REFUSED[name]
    with pytest.raises(RecipeError, match=f"^r.yaml:1: {said}"):
        parse_recipe(text, source="r.yaml")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.at=2026-02-30", "'2026-02-30' is no YAML value: 2026-02-30: day is out of range for month"),
        ("data.include=[*.py]", "quote what begins with one of"),
        ("name=a\x07", "the character U\\+0007 can not stand in YAML"),
        ("data.include=" + "[" * 3000, "nested more deeply"),
        ("runs=\udcff", "bytes that are no UTF-8 can not stand in YAML"),
        ("data.include=&a [*a]", "data.include.0 stands in itself"),
        ("data.miners.²=fim", "nothing stands at data.miners.²"),
    ],
)
def test_an_override_that_yaml_can_not_read_is_named(override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        parse_recipe("", [override])
    assert str(caught.value).startswith("override ")


def test_runs_may_lie_in_the_users_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert parse_recipe("runs: ~/runs").runs == "/home/ann/runs"
    assert parse_recipe("runs: ~nobody-of-that-name/runs").runs == "~nobody-of-that-name/runs"


def test_a_base_model_may_lie_in_the_users_own_folder(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetune.base import read_base

    monkeypatch.setenv("HOME", str(tiny_base.parent))
    recipe = parse_recipe(f"model: {{path: ~{os.sep}{tiny_base.name}}}")
    assert read_base(recipe.model).path == tiny_base.resolve()
