"""What a sweep's rows say: names, ranking, the frontier, the table, the plot."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from finetune.errors import EvaluateError, RecipeError
from finetune.recipe import parse_recipe
from finetune.records import Comparison, Estimate
from finetune.sweep import SweepResult, SweepRow, read_result, table
from finetune.sweep.page import page
from finetune.sweep.plot import figure, keep_apart
from finetune.sweep.points import name_of, points
from finetune.sweep.report import to_json
from finetune.sweep.words import cells, heads


def row(name: str, trainable: int, change: float, *, half: float = 0.1, better: Literal["higher", "lower"] = "lower") -> SweepRow:
    base = Estimate(2.0, 1.9, 2.1, 50)
    tuned = Estimate(2.0 + change, 1.9 + change, 2.1 + change, 50)
    found = Comparison(base, tuned, Estimate(change, change - half, change + half, 50), 9, better)
    return SweepRow(name, {}, trainable=trainable, total=1000, valid_loss=1.0, seconds=1.0, metrics={"score": found})


def result(*rows: SweepRow) -> SweepResult:
    return SweepResult(Path("runs/ranks"), "score", rows)


def rendered(found: SweepResult) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table(found))
    return captured.get()


def test_few_files_do_not_show_which_run_is_better() -> None:
    rows = [row("most", 10, -0.5, half=0.01), row("some", 10, -0.1, half=0.01)]
    assert "most is better than some" in rendered(result(*rows))
    few = [replace(each, metrics={"score": replace(each.metrics["score"], files=5)}) for each in rows if each.metrics]
    assert "5 held-out files are too few to show which run is better" in rendered(result(*few))


def test_a_sweep_of_another_version_is_named_with_its_cure(tmp_path: Path) -> None:
    values = to_json(result(row("most", 10, -0.5)))
    del values["runs"][0]["metrics"]["score"]["files"]
    for content in (json.dumps(values), "{", "{}"):
        (tmp_path / "sweep.json").write_text(content)
        with pytest.raises(EvaluateError, match=r"sweep.json: .*; type finetune sweep again"):
            read_result(tmp_path)


def test_the_best_comes_first_and_what_failed_last() -> None:
    rows = [SweepRow("broken", {}, error="no"), row("some", 10, -0.1), row("most", 10, -0.5)]
    assert [each.name for each in result(*rows).ranked()] == ["most", "some", "broken"]


def test_a_higher_score_can_be_the_better_one() -> None:
    rows = [row("low", 10, 0.1, better="higher"), row("high", 10, 0.5, better="higher")]
    assert [each.name for each in result(*rows).ranked()] == ["high", "low"]


def test_the_frontier_leaves_out_what_costs_more_for_less() -> None:
    rows = [row("wasteful", 40, -0.2), row("small", 10, -0.1), row("large", 30, -0.5), row("same", 10, -0.05)]
    assert [each.name for each in result(*rows).frontier()] == ["small", "large"]


def test_a_run_is_told_with_every_figure_that_is_known() -> None:
    whole = replace(row("mine", 125, -0.25), tokens=1_234_567, seconds=61.4, peak_memory_bytes=3 << 30, valid_loss=1.23456)
    found = result(whole, SweepRow("broken", {}, error="no"), SweepRow("ended", {}, pruned_at=4, valid_loss=2.0, tokens=99, seconds=3.0))
    name = "score"
    assert heads(found) == [
        *("run", "trained", "tokens", "seconds", "peak memory", "held-out loss"),
        *(f"{name}: tuned - base", f"{name} (lower is better)"),
    ]
    assert [cells(found, each) for each in found.rows] == [
        [
            *("mine", "125 (12.50%)", "1,234,567", "61", "3,072 MiB", "1.2346"),
            *("-0.250 (-0.350 to -0.150)", "1.750 (1.650 to 1.850)"),
        ],
        ["broken", *[""] * 7],
        ["ended", "", "99", "3", "", "2.0000, ended at step 4", "", ""],
    ]
    shown = rendered(found)
    assert all(cell in shown for cell in cells(found, whole)), "the table of the terminal shows the same"


def test_runs_whose_intervals_overlap_are_not_told_apart() -> None:
    assert "does not show which is better" in rendered(result(row("a", 10, -0.50), row("b", 20, -0.55)))
    assert "b is better than a" in rendered(result(row("a", 10, -0.1), row("b", 20, -0.9)))


def test_a_plot_of_one_run_beside_a_failed_one_can_be_drawn() -> None:
    assert figure(result(row("a", 10, -0.5), SweepRow("broken", {}, error="no"))).startswith(b"\x89PNG")


def test_names_of_points_side_by_side_do_not_cover_each_other() -> None:
    canvas = Figure(figsize=(6, 4))
    axes = canvas.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for index in range(4):
        axes.annotate(f"method {index}", (0.5 + index / 1000, 0.5), xytext=(7, 5), textcoords="offset points")
    keep_apart(axes)
    boxes = [name.get_window_extent() for name in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_what_a_search_ended_early_comes_after_what_ended_and_before_what_failed() -> None:
    rows = [SweepRow("broken", {}, error="no"), SweepRow("early", {}, pruned_at=3, valid_loss=0.1), row("whole", 10, 0.5)]
    assert [each.name for each in result(*rows).ranked()] == ["whole", "early", "broken"]


def test_losses_of_other_rows_are_left_out_of_the_correlation_and_named() -> None:
    rows = [replace(row(f"r{n}", 10, n / 10), valid_loss=float(n), data="a") for n in range(1, 7)]
    other = replace(row("other", 10, 9.0), valid_loss=0.0, data="b")
    found = result(*rows, other)
    correlation = found.correlation("score")
    assert (correlation.n, correlation.rho) == (6, pytest.approx(1)) and correlation.p == pytest.approx(2 / 720)
    assert "a lower loss goes with a better score" in rendered(found) and "1 of the runs stand on other rows" in rendered(found)


def test_the_page_says_whether_loss_and_score_go_together_and_who_is_better() -> None:
    found = page(result(*(replace(row(f"r{n}", 10, n / 10), valid_loss=float(n)) for n in range(1, 7))), None)
    assert "rho +1.00, p 0.003: a lower loss goes with a better score" in found
    assert "The intervals of r1 and r2 overlap" in found


def test_a_chance_that_rounds_to_nothing_is_not_told_as_none() -> None:
    rows = [replace(row(f"r{n}", 10, n / 10), valid_loss=float(n)) for n in range(7)]
    assert "rho +1.00, p < 0.001: a lower" in page(result(*rows), None).replace("&lt;", "<")


def test_a_higher_score_with_a_lower_loss_is_the_same_finding() -> None:
    rows = [replace(row(f"r{n}", 10, -n / 10, better="higher"), valid_loss=float(n)) for n in range(1, 7)]
    assert result(*rows).correlation("score").rho == pytest.approx(1)


def test_too_few_runs_for_a_correlation_are_said_to_be() -> None:
    rows = [replace(row(f"r{n}", 10, n / 10), valid_loss=float(n)) for n in range(4)]
    assert "n is too small" in rendered(result(*rows))


def test_the_page_holds_every_run_its_plot_and_nothing_of_a_name_as_markup() -> None:
    rows = [row("a<b>", 10, -0.5), row("c", 20, -0.1), SweepRow("broken", {}, error="<script>alert(1)</script>")]
    found = page(result(*rows), figure(result(*rows)))
    assert "<b>" not in found and "<script>" not in found and "a&lt;b&gt;" in found
    assert "data:image/png;base64,iVBOR" in found and "-0.500 (-0.600 to -0.400)" in found and 'class="base"' in found


def test_a_sweep_is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    rows = [
        replace(row("a", 10, -0.5), data="x", tokens=7, peak_memory_bytes=9),
        SweepRow("early", {"b": [1]}, pruned_at=3, valid_loss=0.1),
    ]
    written = SweepResult(tmp_path, "score", rows, by_loss=True, waiting=("later",))
    (tmp_path / "sweep.json").write_text(json.dumps(to_json(written)))
    assert read_result(tmp_path) == written


def test_runs_of_seven_methods_are_labelled_by_them_and_others_by_their_names() -> None:
    methods = [SweepRow("x", {"adapter": "lora"}), SweepRow("y", {"adapter": {"kind": "ia3"}})]
    assert result(*methods).labels() == {"x": "lora", "y": "ia3"}
    assert result(*methods, SweepRow("z", {"adapter": "lora", "seed": 1})).labels() == {"x": "x", "y": "y", "z": "z"}


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"adapter.r": 4}, "r-4"),
        ({"adapter.r": 4, "train.learning_rate": 2e-4}, "r-4_learning_rate-0.0002"),
        ({"adapter.r": 4, "other.r": 5}, "adapter.r-4_other.r-5"),
        ({"model.path": "/models/a b"}, "path--models-a-b"),
    ],
)
def test_a_run_is_named_after_what_is_set(setting: dict[str, object], name: str) -> None:
    assert name_of(setting) == name


def test_settings_that_are_no_plain_values_get_names_of_their_own() -> None:
    names = {name_of({"adapter": {"kind": "lora", "r": r}}) for r in (4, 8)}
    assert len(names) == 2 and all(name.startswith("adapter-lora") for name in names)
    assert len(name_of({"model.path": "x" * 400})) < 100


@pytest.mark.parametrize("grid", ["{}", "{adapter.r: []}"])
def test_an_empty_grid_is_refused(grid: str, tiny_base: Path) -> None:
    with pytest.raises(RecipeError, match="nothing to run"):
        points(parse_recipe("", [f"model.path={tiny_base}", f"sweep.grid={grid}"]))


def test_the_same_point_twice_is_refused(tiny_base: Path) -> None:
    with pytest.raises(RecipeError, match="more than once"):
        points(parse_recipe("", [f"model.path={tiny_base}", "sweep.grid={adapter.r: [4, 4]}"]))


def test_a_point_is_one_experiment_below_the_sweep(tiny_base: Path) -> None:
    (point,) = points(
        parse_recipe("", [f"model.path={tiny_base}", "runs=here", "data.row_length=512", "sweep.grid={adapter.r: [4]}"], name="ranks")
    )
    assert (point.recipe.runs, point.recipe.name) == ("here/ranks", "r-4")
    assert not point.recipe.sweep.grid
