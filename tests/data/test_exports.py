"""Exports for other trainers: what each of them reads of a line are the tokens, and the learnt ones, that octotune trains on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from office import SPELT
from test_tables import encoder_of, recipe_for
from tokenizers import Tokenizer

from finetune.__main__ import main
from finetune.data.build import build
from finetune.data.exports import FORMATS, Told, read_told
from finetune.data.exports.told import segments_of
from finetune.data.exports.trl import Trl
from finetune.data.render import Encoder, encode_sample
from finetune.data.tables import SampleRow
from finetune.errors import DataError, FinetuneError
from finetune.families import FAMILIES, plain_family
from finetune.recipe import Recipe
from finetune.records import ContextSample, FimSample, InstructSample, Origin, Side
from finetune.run import Run, open_run

KINDS = ("trl", "axolotl", "llamafactory", "messages")
ORIGIN = Origin("shop", "c", "a.py")
SIDES: tuple[Side, ...] = ("train", "valid")
Ids = list[int]


@pytest.fixture(scope="module", params=["all", "answer"])
def exported(request: pytest.FixtureRequest, office: Path, byte_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Built with single files, files side by side and commits, and handed to every trainer."""
    miners = [{"kind": "fim", "rate": 0.7}, "repository", "commits"]
    chosen = {"miners": miners, "learn": request.param, "exports": [*KINDS], "row_length": 1024}
    recipe = recipe_for(office, byte_base, tmp_path_factory.mktemp("exports"), **chosen)
    build(recipe)
    return open_run(recipe)


def lines_of(run: Run, kind: str, side: Side) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.data / "exports" / kind / f"{side}.jsonl").read_text().splitlines()]


def counts_of(run: Run, kind: str) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads((run.data / "exports" / kind / "export.json").read_text())
    return counts


def tokenizer_of(run: Run) -> Tokenizer:
    """As every trainer loads it: what spells a special token becomes one."""
    return Tokenizer.from_file(str(Path(run.recipe.model.path) / "tokenizer.json"))


def stored(run: Run, side: Side) -> list[Told]:
    return [*read_told(run.data, side, encoder_of(run))]


def spells(told: Told) -> bool:
    """Whether a text of the user spells a sentinel: as text it would be another sample."""
    return "".join(segment.text for segment in told.segments).count("<|endoftext|>") > 1


def as_axolotl(line: dict[str, Any], tokenizer: Tokenizer) -> tuple[Ids, list[bool]]:
    """Its input_output strategy: each segment apart, learnt where its label says so."""
    ids: Ids = []
    learnt: list[bool] = []
    for segment in line["segments"]:
        found = tokenizer.encode(segment["text"], add_special_tokens=False).ids
        ids += found
        learnt += [segment["label"]] * len(found)
    return ids, learnt


def as_llamafactory(line: dict[str, Any], tokenizer: Tokenizer, *, train_on_prompt: bool) -> tuple[Ids, list[bool]]:
    """Its sharegpt converter and the template `empty`: each turn apart; of a user's, {{idx}} is filled in once."""
    ids: Ids = []
    learnt: list[bool] = []
    for index, turn in enumerate(line["conversations"]):
        assert turn["from"] == ("human", "gpt")[index % 2]
        text = turn["value"] if index % 2 else turn["value"].replace("{{idx}}", str(index // 2), 1)
        found = tokenizer.encode(text, add_special_tokens=False).ids if text else []
        ids += found
        learnt += [train_on_prompt or index % 2 == 1] * len(found)
    assert len(line["conversations"]) % 2 == 0
    return ids, learnt


def read_back(run: Run, kind: str, side: Side) -> Iterator[tuple[Ids, list[bool]]]:
    config = yaml.safe_load((run.data / "exports" / "llamafactory" / "train.yaml").read_text())
    for line in lines_of(run, kind, side):
        match kind:
            case "axolotl":
                yield as_axolotl(line, tokenizer_of(run))
            case "llamafactory":
                yield as_llamafactory(line, tokenizer_of(run), train_on_prompt=config["train_on_prompt"])
            case _:
                yield line["input_ids"], [label != -100 for label in line["labels"]]


@pytest.mark.parametrize("kind", ["trl", "axolotl", "llamafactory"])
def test_the_trainer_reads_the_tokens_that_we_train_on(exported: Run, kind: str) -> None:
    left_out = counts_of(exported, kind)["left_out"]
    for side in SIDES:
        expected = [told for told in stored(exported, side) if kind == "trl" or not (spells(told) or fills_in(told, kind))]
        found = [*read_back(exported, kind, side)]
        assert len(found) == len(expected) == counts_of(exported, kind)["lines"][side]
        for (ids, learnt), told in zip(found, expected, strict=True):
            assert ids == list(told.ids)
            assert learnt[1:] == list(told.learnt[1:])  # the first token has nothing before it: no trainer learns it
    everything = sum(len(stored(exported, side)) for side in SIDES)
    assert sum(counts_of(exported, kind)["lines"].values()) + sum(left_out.values()) == everything
    assert ("spells_a_control_token" in left_out) == (kind != "trl")
    assert ("other_tokens" in left_out) == (kind == "llamafactory")


def fills_in(told: Told, kind: str) -> bool:
    """Whether LLaMA-Factory's template would write a number into it."""
    return kind == "llamafactory" and any("{{idx}}" in turn for turn in told.turns[::2])


def test_code_that_spells_a_sentinel_is_handed_on_as_tokens_only(exported: Run) -> None:
    """T9: as text it would end the sample in the middle."""
    line = SPELT.partition("'")[2].partition("'")[0]
    trl, axolotl = ([each for side in SIDES for each in lines_of(exported, kind, side)] for kind in ("trl", "axolotl"))
    assert any((each["prompt"] + each["completion"]).count(line) > 1 for each in trl)
    for each in axolotl:
        assert sum(segment["text"].count(line) for segment in each["segments"]) == 1


def test_samples_with_several_answers_keep_them_apart(exported: Run) -> None:
    several = [line for line in lines_of(exported, "llamafactory", "train") if len(line["conversations"]) > 2]
    assert several and all("<file_sep>" in str(line) for line in several)


def test_conversations_alone_are_told_as_messages(exported: Run, office: Path) -> None:
    lines = [line for side in SIDES for line in lines_of(exported, "messages", side)]
    assert [[message["role"] for message in line["messages"]] for line in lines] == [["user", "assistant"]]
    asked, answered = (message["content"] for message in lines[0]["messages"])
    assert answered == (office / "src/shapes.py").read_text()
    assert asked == "Multiply the sides of every rectangle\n" + answered.replace("*", "+")
    assert counts_of(exported, "messages")["left_out"].keys() == {"no_conversation"}


def test_the_page_says_how_to_start_and_what_was_left_out(exported: Run) -> None:
    for kind, plugin in FORMATS:
        page = (exported.data / "exports" / kind / "README.md").read_text()
        header = yaml.safe_load(page.split("---\n")[1])
        assert header["configs"][0]["data_files"][0] == {"split": "train", "path": "train.jsonl"}
        assert plugin.command.format(folder=(exported.data / "exports" / kind).resolve()) in page
        for reason, count in counts_of(exported, kind)["left_out"].items():
            assert f"left out, {reason}: {count}" in page
        assert "must tokenise special tokens" in page
        first = counts_of(exported, kind)["first"]
        assert first["input_ids"] == list(stored(exported, "train")[0].ids)


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_has_its_origin_and_licences_beside_it(exported: Run, kind: str) -> None:
    page = (exported.data / "exports" / kind / "README.md").read_text()
    for side in SIDES:
        origins = [json.loads(line) for line in (exported.data / "exports" / kind / f"{side}.origins.jsonl").read_text().splitlines()]
        lines = lines_of(exported, kind, side)
        assert len(origins) == len(lines)
        rows = iter(stored(exported, side))
        for line, origin in zip(lines, origins, strict=True):  # what was left out shifts the lines: each is found by what it says
            plugin = dict(FORMATS)[kind]()
            told = next(told for told in rows if plugin.line(told) == line)
            assert origin == {name: getattr(told.row, name) for name in ("miner", "repo", "commit", "paths", "licenses")}
            assert all(f"- {licence or 'none'}: " in page for licence in origin["licenses"])


def known_keys() -> tuple[set[str], set[str]]:
    """What axolotl and LLaMA-Factory know, from their own schemas."""
    import transformers

    _, axolotl, llamafactory = (Path(__file__).parent / "trainer_keys.txt").read_text().split("# keys of ")
    arguments = {field.name for field in fields(transformers.Seq2SeqTrainingArguments)}
    return set(axolotl.split()), set(llamafactory.split()) | arguments


def test_no_configuration_has_a_key_that_its_trainer_does_not_know(exported: Run) -> None:
    folder = exported.data / "exports"
    axolotl, llamafactory = known_keys()
    ours = {name: yaml.safe_load((folder / name).read_text()) for name in ("axolotl/axolotl.yaml", "llamafactory/train.yaml")}
    assert not ours["axolotl/axolotl.yaml"].keys() - axolotl
    assert not ours["llamafactory/train.yaml"].keys() - llamafactory
    info = json.loads((folder / "llamafactory" / "dataset_info.json").read_text())
    config = ours["llamafactory/train.yaml"]
    assert {config["dataset"], config["eval_dataset"]} == info.keys()
    assert all((Path(config["dataset_dir"]) / each["file_name"]).is_file() for each in info.values())
    assert (config["template"], config["cutoff_len"], config["lora_rank"]) == ("empty", 1024, 8)
    assert all(Path(each["path"]).is_file() for each in ours["axolotl/axolotl.yaml"]["datasets"])
    assert ours["axolotl/axolotl.yaml"]["attn_implementation"] == "flash_attention_2"
    assert "write sample_packing: false" in (folder / "axolotl/axolotl.yaml").read_text()


def test_choices_of_the_recipe_reach_every_configuration(office: Path, byte_base: Path, tmp_path: Path) -> None:
    chosen = {"adapter": {"kind": "lora", "r": 32, "rslora": True}, "train": {"learning_rate": 3e-4, "max_steps": 7}}
    recipe = Recipe.model_validate(
        recipe_for(office, byte_base, tmp_path, learn="answer", exports=["trl", "axolotl", "llamafactory"], packing=False).model_dump()
        | chosen
    )
    build(recipe)
    names = {"trl": "sft.yaml", "axolotl": "axolotl.yaml", "llamafactory": "train.yaml"}
    trl, axolotl, llamafactory = (
        yaml.safe_load((open_run(recipe).data / "exports" / kind / name).read_text()) for kind, name in names.items()
    )
    assert (trl["lora_r"], axolotl["lora_r"], llamafactory["lora_rank"]) == (32, 32, 32)
    assert all(config["learning_rate"] == 3e-4 and config["max_steps"] == 7 for config in (trl, axolotl, llamafactory))
    assert (trl["use_rslora"], axolotl["peft_use_rslora"], llamafactory["use_rslora"]) == (True, True, True)
    assert (trl["completion_only_loss"], llamafactory["train_on_prompt"], axolotl["sample_packing"]) == (True, False, False)
    assert "attn_implementation" not in axolotl


def test_text_for_trl_holds_only_what_it_tokenises_as_we_do(office: Path, byte_base: Path, tmp_path: Path) -> None:
    recipe = recipe_for(office, byte_base, tmp_path, learn="answer", exports=[{"kind": "trl", "tokens": False}])
    build(recipe)
    run = open_run(recipe)
    lines = lines_of(run, "trl", "train")
    assert lines and {frozenset(line) for line in lines} == {frozenset({"prompt", "completion"})}
    expected = [told for told in stored(run, "train") if not spells(told)]
    assert [tokenizer_of(run).encode(line["prompt"] + line["completion"]).ids for line in lines] == [list(told.ids) for told in expected]


def test_an_export_of_a_finished_build_changes_nothing_of_it(office: Path, byte_base: Path, tmp_path: Path, capsys: Any) -> None:
    recipe = recipe_for(office, byte_base, tmp_path)
    build(recipe)
    run = open_run(recipe)
    before = (run.mark("build"), (run.data / "report.json").stat().st_mtime_ns)
    assert main(["build", str(run.folder), "--export", "axolotl", "--export", "messages"]) == 0
    assert (run.mark("build"), (run.data / "report.json").stat().st_mtime_ns) == before
    assert run.done("build") and {path.name for path in (run.data / "exports").iterdir()} == {"axolotl", "messages"}
    assert "left out: no_conversation" in capsys.readouterr().out
    assert main(["build", str(run.folder), "--export", "axolotle"]) == 2
    assert "did you mean axolotl?" in capsys.readouterr().err


def test_an_export_that_would_be_empty_is_an_error_and_leaves_nothing(office: Path, byte_base: Path, tmp_path: Path) -> None:
    recipe = recipe_for(office, byte_base, tmp_path, miners=["fim"], exports=["messages"])
    with pytest.raises(DataError, match=r"data.exports: messages: not one sample .*no_conversation \d+.*write one of axolotl"):
        build(recipe)
    assert open_run(recipe).done("build") and not [*(open_run(recipe).data / "exports").iterdir()]


def told_of(sample: Any, encoder: Encoder) -> list[tuple[str, bool]]:
    encoded = encode_sample(sample, encoder, learn="answer")
    return [(segment.text, segment.answer) for segment in segments_of(list(encoded.input_ids), encoded.marks, encoder)]


def test_suffix_first_and_instructions_are_cut_where_the_answer_begins(encoder: Encoder) -> None:
    spm = FimSample(ORIGIN, "def f():\n    ret", "urn 1", "\n", "spm")
    assert told_of(spm, encoder) == [
        ("<fim_prefix><fim_suffix>\n<fim_middle>def f():\n    ret", False),
        ("urn 1<|endoftext|>", True),
    ]
    asked = InstructSample(ORIGIN, "Add ünits 😀", "x = 1\r\n", "  x = 2\n")
    assert told_of(asked, encoder) == [("Question: Add ünits 😀\nx = 1\r\n\n\nAnswer:\n", False), ("  x = 2\n<|endoftext|>", True)]


@pytest.mark.parametrize("family", [*FAMILIES, plain_family("<|endoftext|>")], ids=lambda family: family.name)
def test_segments_join_to_the_sample_in_every_family(family: Any, encoder_of: Any) -> None:
    encoder = encoder_of(family)
    form = "plain" if family.fim is None else "psm"
    parts = (FimSample(ORIGIN, "" if form == "plain" else "a(", "b", "" if form == "plain" else ")\n", form),)
    sample = parts[0] if family.repository is None else ContextSample(parts, named=True)
    encoded = encode_sample(sample, encoder, learn="all")
    segments = segments_of(list(encoded.input_ids), encoded.marks, encoder)
    assert "".join(segment.text for segment in segments) == encoder.decode(encoded.input_ids)
    ends = family.end if family.fim is None else family.fim.end or family.end
    assert segments[-1].answer and segments[-1].text.endswith(ends)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_trl_trains_on_the_export_by_its_own_configuration(office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`trl sft --config`: its parser, its loader of data sets and its trainer, two steps on the embedded base model."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset
    from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments, SFTConfig, SFTTrainer, TrlParser, get_peft_config

    recipe = Recipe.model_validate(
        recipe_for(office, Path("demo"), tmp_path / "runs", learn="answer", exports=["trl"]).model_dump()
        | {"train": {"max_steps": 2, "accumulation": 1, "gradient_checkpointing": False, "learning_rate": 1e-3}}
    )
    build(recipe)
    run = open_run(recipe)
    parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig, DatasetMixtureConfig))
    extra = ["--use_cpu", "true", "--save_strategy", "no", "--disable_tqdm", "true"]
    script, arguments, model, _ = parser.parse_args_and_config(
        ["--config", str(run.data / "exports" / "trl" / "sft.yaml"), *extra], fail_with_unknown_args=True
    )
    rows = load_dataset(script.dataset_name, cache_dir=str(tmp_path / "cache"))
    trainer = SFTTrainer(
        model=model.model_name_or_path,
        args=arguments,
        train_dataset=rows[script.dataset_train_split],
        eval_dataset=rows[script.dataset_test_split],
        peft_config=get_peft_config(model),
    )
    for side, dataset in (("train", trainer.train_dataset), ("valid", trainer.eval_dataset)):
        ours = stored(run, side)
        assert dataset["input_ids"][:] == [list(told.ids) for told in ours]
        learnt = [[label != -100 for label in labels] for labels in dataset["labels"]]
        assert learnt == [list(told.learnt) for told in ours]
    done = trainer.train()
    assert (done.global_step, done.training_loss > 0) == (2, True)
    assert any(parameter.abs().sum() > 0 for name, parameter in trainer.model.named_parameters() if "lora_B" in name)


def test_a_format_that_is_not_known_is_named_with_what_comes_near(office: Path, byte_base: Path, tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="no format is called 'trll'; did you mean trl"):
        recipe_for(office, byte_base, tmp_path, exports=["trll"])


def test_a_middle_with_an_end_of_its_own_is_not_left_to_trls_tokenizer(encoder_of: Any) -> None:
    family = next(family for family in FAMILIES if family.name == "codegemma")
    encoder = encoder_of(family)

    def told(form: Any) -> Told:
        encoded = encode_sample(FimSample(ORIGIN, "", "b", "", form), encoder, learn="all")
        ids = list(encoded.input_ids)
        row = SampleRow("train", 0, len(ids), "fim", "shop", "c", ["a.py"], [None], [*encoded.marks], [])
        return Told(row, segments_of(ids, encoded.marks, encoder), ids, [True] * len(ids), family.end)

    assert Trl(tokens=False).line(told("psm")) == "ends_otherwise"
    assert Trl(tokens=False).line(told("plain")) == {"prompt": "", "completion": "b<eos>"}
