"""A study in PostgreSQL, which machines without a common disk share: on a server of the tests' own, where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from test_study import POINTS, every_run_is_done_once, in_process, take_one_and_die, working

from finetune.errors import RecipeError
from finetune.recipe import Recipe, parse_recipe
from finetune.sweep import read_result, sweep
from finetune.sweep.database import GRACE

pytest.importorskip("psycopg", reason="psycopg is not installed")
PLACES = [Path(found).parent for found in [shutil.which("initdb")] if found] or sorted(Path("/usr/lib/postgresql").glob("*/bin"))
OWNER = {"user": "postgres"} if os.geteuid() == 0 else {}  # the server refuses to be root's
pytestmark = pytest.mark.skipif(not PLACES, reason="no PostgreSQL server is installed")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of an empty database, on a socket alone."""
    folder = Path(tempfile.mkdtemp(prefix="study"))
    if OWNER:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)

    def run(program: str, *words: str) -> None:
        subprocess.run([PLACES[-1] / program, "-D", folder / "data", *words], check=True, stdout=subprocess.DEVNULL, cwd=folder, **OWNER)  # type: ignore[call-overload]

    run("initdb", "--auth=trust", "--no-sync", "--username=me")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "--wait", "--log", str(folder / "log"), "--options", options, "start")
    try:
        yield f"postgresql+psycopg://me:secret@/postgres?host={folder}"
    finally:
        run("pg_ctl", "--wait", "--mode=immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def recipe(server: str, tmp_path: Path) -> Recipe:
    return parse_recipe("", [f"runs={tmp_path}", f"sweep.storage={server}"], name=tmp_path.name)


def test_processes_that_share_a_study_do_every_run_once(recipe: Recipe, tmp_path: Path) -> None:
    every_run_is_done_once(recipe, tmp_path)


def test_the_run_of_a_killed_process_goes_to_the_next_one_and_that_of_a_living_one_does_not(recipe: Recipe) -> None:
    with working(recipe, "first") as board:
        board.offer({"r-1": POINTS["r-1"], "r-2": POINTS["r-2"]})
        process = in_process(take_one_and_die, recipe)
        process.join()
        assert process.exitcode == 9
        board.take_back()
        assert sorted(task.name for _ in range(2) if (task := board.claim(None)) is not None) == ["r-1", "r-2"]
        with working(recipe, "second") as other:
            other.take_back()
            assert other.claim(None) is None, "both live"


def test_of_another_machine_the_heartbeat_tells(recipe: Recipe) -> None:
    with working(recipe, "here") as board:
        board.offer({"r-1": {"adapter.r": 1}})
        task = board.claim(None)
        assert task is not None
        task.trial.set_user_attr("worker", ["elsewhere", "/its/own/folder"])
        for seconds, lost in ((GRACE - 60, False), (GRACE + 60, True)):
            with board.storage.engine.begin() as connection:
                connection.execute(text(f"UPDATE trial_heartbeats SET heartbeat = CURRENT_TIMESTAMP - interval '{seconds} seconds'"))
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
