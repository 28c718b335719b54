from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from adversarial import Adversary, build_adversary

from finetune.base import read_base
from finetune.data.build import BuildReport, build
from finetune.data.render import Encoder
from finetune.data.show import samples
from finetune.families import FAMILIES
from finetune.recipe import Recipe, parse_recipe
from finetune.run import open_run

STARCODER2 = FAMILIES[0]


@pytest.fixture(scope="module")
def adversary(tmp_path_factory: pytest.TempPathFactory) -> Adversary:
    return build_adversary(tmp_path_factory.mktemp("adversary") / "odd project")


@pytest.fixture(scope="module")
def base(byte_tokenizer: Any) -> Path:
    assert STARCODER2.jupyter is not None
    folder: Path = byte_tokenizer([*STARCODER2.sentinels, *STARCODER2.jupyter.all])
    (folder / "config.json").write_text(json.dumps({"model_type": "starcoder2", "vocab_size": 320, "max_position_embeddings": 8192}))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


def built(adversary: Adversary, base: Path, folder: Path, **data: Any) -> tuple[Recipe, BuildReport]:
    """The dataset of the repository with its path, its author and a folder left out on request."""
    (folder / "opt-out").write_text("# by request\nauthor: Jane <jane@corp.test>\npath: asked/\n")
    values = {"repositories": [str(adversary.folder)], "row_length": 1024, "valid_share": 0.3, "exclude": ["/private/"]}
    values |= {"opt_out": [str(folder / "opt-out")]} | data
    recipe = parse_recipe(json.dumps({"name": "odd", "runs": str(folder / "runs"), "model": {"path": str(base)}, "data": values}))
    return recipe, build(recipe)


@pytest.fixture(scope="module")
def plain(adversary: Adversary, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, BuildReport]:
    miners = [{"kind": "fim", "rate": 0}, "notebooks", "commits"]
    return built(adversary, base, tmp_path_factory.mktemp("plain"), miners=miners)


def written(recipe: Recipe) -> list[list[int]]:
    """The ids of every sample on disk."""
    run = open_run(recipe)
    return [[token.id for token in tokens] for side in ("train", "valid") for tokens in samples(run.data / side)]


def test_every_oddity_is_counted_by_its_reason_and_nothing_is_lost_beside_it(adversary: Adversary, plain: Any) -> None:
    recipe, report = plain
    assert Counter(report.files.dropped) == adversary.files
    assert report.files.kept == len(adversary.kept)
    assert report.files.read == report.files.kept + sum(report.files.dropped.values())
    encoder = encoder_of(recipe)
    everything = "".join(encoder.decode(ids) for ids in written(recipe))
    assert [path for mark, path in adversary.kept.items() if mark not in everything] == []


def test_every_commit_is_counted_by_its_reason(adversary: Adversary, plain: Any) -> None:
    _, report = plain
    expected = adversary.commits.copy()
    samples_made = expected.pop("")
    assert Counter(report.changes.dropped) == expected
    assert report.changes.kept == samples_made == sum(report.samples["commits"].values())


def test_every_decision_stands_on_disk_under_a_path_that_can_be_written(adversary: Adversary, plain: Any) -> None:
    recipe, report = plain
    lines = [json.loads(line) for line in (open_run(recipe).data / "decisions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert Counter(line["reason"] for line in lines) == Counter(report.items.dropped)


def test_text_of_the_user_never_becomes_a_control_token(adversary: Adversary, base: Path, tmp_path: Path) -> None:
    recipe, report = built(adversary, base, tmp_path, miners=[{"kind": "fim", "rate": 1}, "notebooks", "commits"])
    encoder = encoder_of(recipe)
    fim, jupyter = STARCODER2.fim, STARCODER2.jupyter
    assert fim is not None and jupyter is not None
    tokens = Counter[str]()
    for ids in written(recipe):
        assert ids.count(encoder.end_id) == 1 and ids[-1] == encoder.end_id
        control = [each for each in ids[:-1] if each in encoder.sentinel_ids]
        names = {encoder.token(name): name for name in (*STARCODER2.sentinels, *jupyter.all)}
        tokens.update(names[each] for each in control)
        shape = " ".join(names[each] for each in control)
        assert shape in {
            f"{fim.prefix} {fim.suffix} {fim.middle}",  # psm and spm begin with one token each, in one order
            "",
            " ".join([jupyter.start, jupyter.text, jupyter.code, jupyter.output, jupyter.empty]),
        }
    assert tokens[jupyter.start] == 1
    assert tokens[fim.middle] == report.samples["fim"]["train"] + report.samples["fim"]["valid"]
    texts = "".join(encoder.decode([each for each in ids if each not in encoder.sentinel_ids]) for ids in written(recipe))
    assert texts.count("<|endoftext|>") > 1


def test_a_family_without_notebook_tokens_reads_a_notebook_as_a_script(adversary: Adversary, byte_base: Path, tmp_path: Path) -> None:
    recipe, report = built(adversary, byte_base, tmp_path, miners=[{"kind": "fim", "rate": 0}, "notebooks"])
    assert "notebooks" not in report.samples
    assert report.files.dropped == adversary.files
    encoder = encoder_of(recipe)
    assert "# %% [markdown]\n# # Numbers <jupyter_text>\n# kept_notebook\n# %%\nprint(6 * 7)" in "".join(
        map(encoder.decode, written(recipe))
    )


def test_masks_and_opt_outs_are_part_of_what_a_build_stands_on(adversary: Adversary, base: Path, tmp_path: Path) -> None:
    miners = [{"kind": "fim", "rate": 0}]
    recipe, first = built(adversary, base, tmp_path, miners=miners)
    assert not build(recipe).fresh
    (tmp_path / "opt-out").write_text("path: src/plain0.py\n")
    report = build(recipe)
    assert report.fresh
    # Hers and what was asked for come back, one file goes.
    assert report.files.kept == first.files.kept + 1
    assert report.files.dropped["opted_out_path"] == 1


def encoder_of(recipe: Recipe) -> Encoder:
    base = read_base(recipe.model)
    return Encoder(base.tokenizer, base.family)
