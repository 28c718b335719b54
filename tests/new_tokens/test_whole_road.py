"""A base without fill-in-the-middle tokens, from its repository to a checkpoint that fills in the middle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.__main__ import main
from finetune.base import read_base
from finetune.data.build import build
from finetune.data.render import Encoder, encode_prompt
from finetune.data.store import read_rows
from finetune.evaluate import evaluate
from finetune.export import export
from finetune.generate import BatchCompleter, open_completer
from finetune.methods import load_adapter
from finetune.model import load_model
from finetune.quiet import known_warnings_off
from finetune.recipe import Recipe
from finetune.records import FimPrompt, Sampling
from finetune.run import Run, open_run
from finetune.train import train

ADDED = ["<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"]
BODY = "def {0}_{1}(values):\n    total = {1}\n    for value in values:\n        total += value * {1}\n    return total\n\n\n"


@pytest.fixture
def repository(make_repository: Callable[..., Path]) -> Path:
    names = ["pump", "valve", "tank", "pipe", "motor", "gauge", "seal", "rotor"]
    return make_repository([("All", {f"{name}.py": "".join(BODY.format(name, n) for n in range(4)) for name in names})])


def trained(recipe: Recipe) -> Run:
    build(recipe)
    train(recipe)
    return open_run(recipe)


def both_rows(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return model.get_input_embeddings().weight, model.get_output_embeddings().weight


@pytest.mark.parametrize("name", ["tied", pytest.param("untied", marks=pytest.mark.slow)])
def test_tokens_are_added_trained_measured_merged_and_reloaded(
    name: str, repository: Path, recipe_on: Callable[..., Recipe], request: pytest.FixtureRequest
) -> None:
    recipe = recipe_on(request.getfixturevalue(name), repository=repository)
    base = read_base(recipe.model)
    ids = [token.id for token in base.family.added]
    assert [token.text for token in base.family.added] == ADDED and ids == [257, 258, 259, 260] and base.vocabulary_size == 261
    run = trained(recipe)
    in_rows = {token for row in read_rows(run.data / "train") for token in row["input_ids"]}
    assert {257, 258, 259} <= in_rows and max(in_rows) <= 260

    tuned = with_rows_of_its_own(run, recipe)
    assert json.loads((run.adapter / "base.json").read_text())["added_tokens"] == dict(zip(ADDED, ids, strict=True))

    report = evaluate(recipe)
    assert any("new rows for <fim_prefix>" in note for note in report.notes)

    (figures,) = export(recipe)
    assert figures.kl < 1e-9 and figures.top1 == 1.0 and figures.greedy_equal == figures.greedy_prompts
    the_merged_one_says_what_the_adapter_says(run, tuned)


def with_rows_of_its_own(run: Run, recipe: Recipe) -> Any:
    """The tuned model; the base's rows stay as they are, the new ones begin as their mean and are trained."""
    untouched = load_model(read_base(recipe.model), recipe.model)
    plain = [rows.detach().clone() for rows in both_rows(untouched)]
    for rows in plain:
        assert torch.equal(rows[257:], rows[:257].double().mean(dim=0).float().expand(4, -1))
    tuned = load_adapter(untouched, run.adapter)
    for before, after in zip(plain, both_rows(tuned), strict=True):
        assert torch.equal(before[:257], after[:257])
        assert all((before[row] - after[row]).abs().max() > 1e-3 for row in (257, 258, 259))
    return tuned


def the_merged_one_says_what_the_adapter_says(run: Run, tuned: Any) -> None:
    """Read by transformers alone: its rows, the ids of a prompt, and the answer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    auto: Any = AutoModelForCausalLM
    merged = auto.from_pretrained(run.export / "merged", dtype=torch.float32)
    for ours, theirs in zip(both_rows(tuned), both_rows(merged), strict=True):
        assert torch.equal(ours, theirs)
    assert merged.config.vocab_size == 261
    prompt = FimPrompt("def area(r):\n    return ", "\n")
    base = read_base(run.recipe.model)
    asked = encode_prompt(prompt, Encoder(base.tokenizer, base.family))
    text = f"<fim_prefix>{prompt.prefix}<fim_suffix>{prompt.suffix}<fim_middle>"
    assert AutoTokenizer.from_pretrained(run.export / "merged")(text)["input_ids"] == asked
    with torch.no_grad():
        said = merged.generate(torch.tensor([asked]), max_new_tokens=12, do_sample=False)[0, len(asked) :].tolist()
    completer = open_completer([run])
    (answers,) = completer.complete([prompt], Sampling(max_new_tokens=12))
    assert answers[1].text == completer.encoder.decode(said if 0 not in said else said[: said.index(0)]).rstrip("\ufffd")
    (alone,) = list(completer.stream(prompt, Sampling(max_new_tokens=12), arms=["run"]))[-1]
    assert alone.text == answers[1].text


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_rows_train_in_full_precision_beside_quantised_weights(
    quantization: str, untied: Path, repository: Path, recipe_on: Callable[..., Recipe]
) -> None:
    recipe = recipe_on(
        untied, f"model.quantization={quantization}", "model.dtype=bfloat16", "train.gradient_checkpointing=true", repository=repository
    )
    run = trained(recipe)
    from safetensors.torch import load_file

    rows = {key: value for key, value in load_file(run.adapter / "adapter_model.safetensors").items() if "trainable_tokens" in key}
    assert len(rows) == 2 and {value.dtype for value in rows.values()} == {torch.float32}
    assert all((value[0] - value[1]).abs().max() > 1e-3 for value in rows.values())
    (figures,) = export(recipe)
    assert figures.passed and figures.base == "dequantized" and figures.effect > 100 * figures.kl


@pytest.mark.slow
def test_every_weight_of_a_full_training_can_be_trained_instead(untied: Path, repository: Path, recipe_on: Callable[..., Recipe]) -> None:
    recipe = recipe_on(untied, "adapter=full", "train.learning_rate=1e-3", repository=repository)
    run = trained(recipe)
    (figures,) = export(recipe)
    assert figures.kl < 1e-9 and figures.effect > 1e-3
    weights = (run.export / "merged" / "config.json").read_text()
    assert json.loads(weights)["vocab_size"] == 261


@pytest.mark.slow
def test_two_runs_and_the_base_answer_in_one_batch_each_with_its_own_rows(
    tied: Path, repository: Path, recipe_on: Callable[..., Recipe]
) -> None:
    recipes = [recipe_on(tied, *more, name=name, repository=repository) for name, more in (("one", ()), ("two", ("seed=7",)))]
    runs = [trained(recipe) for recipe in recipes]
    prompts = [FimPrompt("def area(r):\n    return ", "\n"), FimPrompt("x = ", "")]
    nats = costs(open_completer(runs), prompts)
    for number, run in enumerate(runs):
        for (base, own), row in zip(costs(open_completer([run]), prompts), nats, strict=True):
            assert (row[0], row[1 + number]) == pytest.approx((base, own), rel=1e-4)
    assert all(len({round(each, 2) for each in row}) == 3 for row in nats)


def costs(completer: BatchCompleter, prompts: list[FimPrompt]) -> list[list[float]]:
    """What a continuation costs each arm, for each prompt."""
    truths = ["3.14 * r"] * len(prompts)
    found = dict(completer.fill(prompts, truths, Sampling(max_new_tokens=2)))
    return [[*found[number].nats] for number in range(len(prompts))]


@pytest.mark.slow
def test_dora_carries_rows_too(untied: Path, repository: Path, recipe_on: Callable[..., Recipe]) -> None:
    recipe = recipe_on(untied, "adapter={kind: lora, r: 4, dora: true}", repository=repository)
    run = trained(recipe)
    (figures,) = export(recipe)
    assert figures.kl < 1e-9 and figures.greedy_equal == figures.greedy_prompts
    assert evaluate(recipe).notes and run.done("evaluate")


@pytest.mark.slow
def test_an_adapter_alone_is_read_by_peft_itself(neox: Path, repository: Path, recipe_on: Callable[..., Recipe]) -> None:
    recipe = recipe_on(neox, "export=adapter", repository=repository)
    run = trained(recipe)
    export(recipe)
    folder = run.export / "adapter"
    assert "resize_token_embeddings" in (folder / "README.md").read_text() and not (folder / "editors" / "vllm.sh").exists()
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    auto: Any = AutoModelForCausalLM
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = auto.from_pretrained(neox)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with known_warnings_off():
        theirs = PeftModel.from_pretrained(model, folder)
    ours = load_adapter(load_model(read_base(recipe.model), recipe.model), run.adapter)
    asked = tokenizer("<fim_prefix>a<fim_suffix>b<fim_middle>", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.equal(theirs(asked).logits[..., :257], ours(asked).logits[..., :257])


def with_merges(folder: Path) -> Path:
    """The same base with two tokens of two bytes: llama.cpp takes no tokenizer without any."""
    path = folder / "tokenizer.json"
    description = json.loads(path.read_text())
    description["model"] |= {"merges": [["Ġ", "Ġ"], ["d", "e"]], "vocab": description["model"]["vocab"] | {"ĠĠ": 257, "de": 258}}
    path.write_text(json.dumps(description))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("opens", [False, True], ids=["plain", "texts begin with a token"])
def test_a_gguf_file_holds_the_tokens_and_fills_in_the_middle_by_itself(
    opens: bool, untied: Path, repository: Path, recipe_on: Callable[..., Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xllamacpp")
    base = with_merges(Path(shutil.copytree(untied, tmp_path / "base")))
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(settings | {"add_bos_token": opens}))
    recipe = recipe_on(base, "export={kind: gguf, type: f32, verify_tokens: 32}", repository=repository)
    run = trained(recipe)
    assert main(["serve", str(run.folder), "--engine", "llama", "--port", "0"]) == 2
    assert f"type: finetune export {run.folder} export=gguf\n" in capsys.readouterr().err  # gguf_lora would be refused
    (figures,) = export(recipe)
    assert figures.kl < 1e-5 and figures.top1 == 1.0
    report = json.loads((run.export / "gguf-f32" / "merge_report.json").read_text())
    assert report["infill"] is True, "its /infill makes the prompt of training, what a text begins with included"
    assert "<fim_prefix>{{ .Prompt }}<fim_suffix>{{ .Suffix }}<fim_middle>" in (run.export / "gguf-f32" / "Modelfile").read_text()
