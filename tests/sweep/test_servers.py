"""A study in a server that machines without a common disk share: on one of the tests' own, of each kind that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from database_servers import SERVERS
from sqlalchemy import text
from test_study import every_run_is_done_once, one_of_two_is_taken_by_who_dies, working

from finetune.errors import RecipeError
from finetune.recipe import Recipe, parse_recipe
from finetune.sweep import read_result, sweep
from finetune.sweep.board import Board
from finetune.sweep.database import GRACE


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database."""
    kind = SERVERS[request.param]
    if kind.missing:
        pytest.skip(f"{request.param}: {kind.missing}")
    with kind.start() as url:
        yield url


@pytest.fixture
def recipe(server: str, tmp_path: Path) -> Recipe:
    return parse_recipe("", [f"runs={tmp_path}", f"sweep.storage={server}"], name=tmp_path.name)


def test_processes_that_share_a_study_do_every_run_once(recipe: Recipe, tmp_path: Path) -> None:
    every_run_is_done_once(recipe, tmp_path)


def test_the_run_of_a_killed_process_goes_to_the_next_one_and_that_of_a_living_one_does_not(recipe: Recipe) -> None:
    with working(recipe, "first") as board:
        one_of_two_is_taken_by_who_dies(board, recipe)
        board.take_back()
        assert sorted(task.name for _ in range(2) if (task := board.claim(None)) is not None) == ["r-1", "r-2"]
        with working(recipe, "second") as other:
            other.take_back()
            assert other.claim(None) is None, "both live"


def set_last_beat(board: Board, *, seconds_ago: int) -> None:
    """By the clock of the server."""
    with board.storage.engine.begin() as connection:
        now = connection.execute(text("SELECT CURRENT_TIMESTAMP")).scalar_one()
        connection.execute(text("UPDATE trial_heartbeats SET heartbeat = :beat"), {"beat": now - timedelta(seconds=seconds_ago)})


def test_of_another_machine_the_heartbeat_tells(recipe: Recipe) -> None:
    with working(recipe, "here") as board:
        board.offer({"r-1": {"adapter.r": 1}})
        task = board.claim(None)
        assert task is not None
        task.trial.set_user_attr("worker", ["elsewhere", "/its/own/folder"])
        for seconds, lost in ((GRACE - 60, False), (GRACE + 60, True)):
            set_last_beat(board, seconds_ago=seconds)
            board.take_back()
            assert (board.claim(None) is not None) is lost


def test_a_study_of_another_recipe_is_refused_without_the_password(recipe: Recipe) -> None:
    with working(recipe, "first"):
        pass
    other = recipe.model_copy(update={"seed": 7})
    with pytest.raises(RecipeError, match=r"is of another recipe: seed is 0 there and 7 here.*choose another storage") as caught:
        working(other, "second").__enter__()
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_a_sweep_goes_on_from_its_study(make_recipe: Callable[..., Recipe], server: str, tmp_path: Path) -> None:
    for grid in ("{adapter.r: [2]}", "{adapter.r: [2, 4]}"):
        result = sweep(make_recipe(grid, sweep__storage=server))
    assert [(row.name, row.error) for row in result.rows] == [("r-2", None), ("r-4", None)]
    assert read_result(tmp_path / "runs" / "ranks") == result and not (tmp_path / "runs" / "ranks" / "study.db").exists()
