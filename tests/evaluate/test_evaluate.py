"""The step evaluate on a run with a random adapter: its files, its numbers, its refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import EvaluateError
from finetune.evaluate import Evaluation, evaluate, table
from finetune.evaluate.measure import Item, Pair, summarise
from finetune.evaluate.plot import figure
from finetune.evaluate.report import read_report, to_json, verdict
from finetune.metrics import Attempt
from finetune.records import Comparison, Estimate, Origin
from finetune.run import Run
from finetune.tasks import Hole

METRICS = {"exact_match", "edit_similarity", "first_line_match", "bits_per_byte", "stops_correctly"}


def rendered(evaluation: Evaluation, *, columns: int = 160) -> str:
    from rich.console import Console

    console = Console(width=columns)
    with console.capture() as captured:
        console.print(table(evaluation))
    return captured.get()


def comparison(low: float, high: float, better: str = "higher", *, files: int = 6) -> Comparison:
    middle = Estimate((low + high) / 2, low, high, 5)
    return Comparison(Estimate(0.1, 0.0, 0.2, 5), Estimate(0.4, 0.3, 0.5, 5), middle, files, better)  # type: ignore[arg-type]


def test_the_report_holds_every_metric_with_intervals_and_counts(trained_run: Any) -> None:
    run: Run = trained_run()
    evaluation = evaluate(run.recipe)
    report = json.loads(run.report.read_text())
    assert set(report["metrics"]) == METRICS
    for values in report["metrics"].values():
        for part in ("base", "tuned", "difference"):
            assert values[part]["low"] <= values[part]["value"] <= values[part]["high"]
        assert values["base"]["n"] == values["tuned"]["n"] <= 18
        assert values["difference"]["value"] == pytest.approx(values["tuned"]["value"] - values["base"]["value"])
    assert report["holes"] == {"line": 6, "span": 6, "block": 6}
    assert report["files"] == 4
    assert set(report["kinds"]) == {"line", "span", "block"}
    assert report["metrics"]["bits_per_byte"]["better"] == "lower"
    assert report["metrics"]["bits_per_byte"]["difference"]["value"] != 0
    assert read_report(run.report) == evaluation
    assert (run.folder / "report.png").read_bytes().startswith(b"\x89PNG")


def test_the_answers_are_kept_to_look_at_and_agree_with_the_report(trained_run: Any) -> None:
    run: Run = trained_run()
    evaluation = evaluate(run.recipe)
    items = [json.loads(line) for line in (run.folder / "answers.jsonl").read_text().splitlines()]
    assert len(items) == 18
    for item in items:
        assert item["origin"]["path"].startswith("src/")
        assert set(item["scores"]) == METRICS
        exact = item["answers"]["tuned"]["text"].rstrip() == item["truth"].rstrip()
        assert item["scores"]["exact_match"]["tuned"] == float(exact)
    similarity = [item["scores"]["edit_similarity"]["base"] for item in items]
    assert evaluation.metrics["edit_similarity"].base.value == pytest.approx(sum(similarity) / 18)
    bits = sum(item["scores"]["bits_per_byte"]["base"] * len(item["truth"].encode()) for item in items)
    size = sum(len(item["truth"].encode()) for item in items)
    assert evaluation.metrics["bits_per_byte"].base.value == pytest.approx(bits / size, rel=1e-5)


def test_measuring_twice_gives_the_same_report_and_a_report_that_is_there_is_read(trained_run: Any) -> None:
    run: Run = trained_run()
    first = evaluate(run.recipe)
    answers, report = (run.folder / "answers.jsonl").read_bytes(), run.report.read_bytes()
    started = run.mark("evaluate")["started"], run.mark("evaluate")["seconds"]
    assert evaluate(run.recipe) == first
    assert (run.mark("evaluate")["started"], run.mark("evaluate")["seconds"]) == started
    run.report.unlink()
    assert evaluate(run.recipe) == first
    assert (run.folder / "answers.jsonl").read_bytes() == answers
    assert run.report.read_bytes() == report


def test_an_adapter_without_effect_shows_no_difference(trained_run: Any, tiny_base: Path) -> None:
    run: Run = trained_run()
    _zero_adapter(run.adapter)
    for found in evaluate(run.recipe).metrics.values():
        assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
        assert verdict(found) == "no difference shown"


def _zero_adapter(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    from finetune.methods import seal_adapter

    weights = load_file(folder / "adapter_model.safetensors")
    save_file({key: value * 0 if "lora_B" in key else value for key, value in weights.items()}, folder / "adapter_model.safetensors")
    seal_adapter(folder)


def test_no_held_out_file_is_a_clear_error_and_leaves_nothing(trained_run: Any) -> None:
    run: Run = trained_run(files={})
    with pytest.raises(EvaluateError, match=r"no file was held out.*data\.valid_share"):
        evaluate(run.recipe)
    assert not run.report.exists() and not run.done("evaluate")


@pytest.mark.parametrize("files", [{"a.py": "def f():\n    return 1\n"}, {"a.py": "\n", "b.py": "}\n"}])
def test_too_few_files_for_an_interval_are_refused_before_the_work(trained_run: Any, files: dict[str, str]) -> None:
    run: Run = trained_run(files=files)
    with pytest.raises(EvaluateError, match=r"holes could be cut out of \d held-out files; an interval needs two"):
        evaluate(run.recipe)
    assert not run.report.exists()


@pytest.mark.parametrize("missing", ["build", "train"])
def test_a_run_that_is_not_trained_names_the_command_to_type(trained_run: Any, missing: str) -> None:
    run: Run = trained_run()
    state = run.state()
    del state["steps"][missing]
    run.manifest.write_text(json.dumps(state))
    with pytest.raises(EvaluateError, match=f"type: finetune {missing} "):
        evaluate(run.recipe)


def test_a_model_without_fim_is_asked_to_the_right_and_the_report_says_so(trained_run: Any, tiny_base: Path) -> None:
    run: Run = trained_run(model={"path": str(tiny_base), "family": "none"})
    evaluation = evaluate(run.recipe)
    assert any("no fill-in-the-middle" in note for note in evaluation.notes)
    assert "stops_correctly" not in evaluation.metrics
    assert evaluation.unscored["stops_correctly: a model that writes to the right has no place to stop"] == 18
    assert "Left out" in rendered(evaluation)
    for line in (run.folder / "answers.jsonl").read_text().splitlines():
        item = json.loads(line)
        assert item["answers"]["base"]["text"].count("\n") <= item["truth"].count("\n")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (comparison(0.1, 0.2), "better"),
        (comparison(-0.2, -0.1), "worse"),
        (comparison(-0.1, 0.2), "no difference shown"),
        (comparison(-0.2, -0.1, "lower"), "better"),
        (comparison(0.1, 0.2, "lower"), "worse"),
        (comparison(0.0, 0.2), "no difference shown"),
        (comparison(0.1, 0.2, files=5), "no difference shown"),
    ],
)
def test_the_verdict_minds_which_way_is_better_and_whether_the_interval_holds_zero(found: Comparison, expected: str) -> None:
    assert verdict(found) == expected


def test_the_table_says_in_words_what_is_shown_and_what_is_missing(tmp_path: Path) -> None:
    evaluation = Evaluation(
        metrics={"exact_match": comparison(0.1, 0.2), "bits_per_byte": comparison(-0.1, 0.1, "lower")},
        unscored={"first_line_match: the true first line is blank": 3},
        kinds={"line": {"exact_match": comparison(-0.2, -0.1)}},
        holes={"line": 4, "block": 1},
        files=3,
        settings={"holes_of_each_kind": 100},
    )
    text = rendered(evaluation)
    for words in (
        "all holes (4 line, 1 block) of 3 held-out files",
        "0.000 to 0.200",
        "+0.150",
        "+0.100 to +0.200",
        "better",
        "worse",
        "no difference shown",
        "bits_per_byte",
        "lower is better",
        "unscored: 3 (first_line_match: the true first line is blank)",
        "Of 100 holes of each kind asked for, the held-out files have 4 line, 1 block.",
        "The block holes come from one file",
    ):
        assert words in text, words
    assert figure(evaluation).startswith(b"\x89PNG")
    (tmp_path / "report.json").write_text(json.dumps(to_json(evaluation)))
    assert read_report(tmp_path / "report.json") == evaluation


def test_a_terminal_of_80_columns_shows_every_name_and_number_whole() -> None:
    """The widest numbers there are, and a metric that not every hole has a score for."""
    wide = Comparison(Estimate(10.125, 9.125, 11.25, 150), Estimate(8.5, 7.5, 9.5, 150), Estimate(-1.625, -2.5, -0.5, 150), 9, "lower")
    unclear = Comparison(Estimate(0.5, 0.25, 0.75, 147), Estimate(0.5, 0.25, 0.75, 147), Estimate(0.0, -0.125, 0.125, 147), 9)
    metrics = {name: wide if name == "bits_per_byte" else unclear for name in METRICS}
    evaluation = Evaluation(metrics=metrics, kinds={"arguments": metrics}, holes={"arguments": 150}, files=3)
    text = rendered(evaluation, columns=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    words = text.split()
    assert all(words.count(name) == 2 for name in METRICS), "once for all holes, once for those of one kind"
    assert {"10.125", "8.500", "-1.625", "+0.000", "11.250", "-2.500", "+0.125"} <= set(words)
    assert "of 147 holes" in text
    assert "9.125 to 11.250" in text
    assert "-0.125 to +0.125" in text


def test_a_score_that_one_arm_lacks_is_counted_and_left_out_of_both(trained_run: Any) -> None:
    run: Run = trained_run()

    def item(path: str, base: float | None, tuned: float | None) -> Item:
        hole = Hole(Origin("r", "c", path), "line", "", "x", "")
        attempt = Attempt(truth="x", text="x", stopped=True, nats=1.0)
        return Item(hole, attempt, attempt, {metric.kind: Pair(base, tuned) for metric in run.recipe.evaluate.metrics})

    from finetune.base import read_base

    items = [item("a", 0.5, 1.0), item("b", 0.0, 0.5), item("c", None, 1.0)]
    evaluation = summarise(items, run.recipe, base=read_base(run.recipe.model), prompt_tokens=10)
    assert evaluation.metrics["exact_match"].base.n == 2
    assert evaluation.metrics["exact_match"].tuned.value == 0.75
    assert evaluation.unscored["bits_per_byte: the true middle has no finite cost"] == 1
