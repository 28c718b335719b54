"""The study that processes share: no run is done twice, none is lost, none is another recipe's."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from finetune.errors import RecipeError
from finetune.lock import hold
from finetune.recipe import Recipe, parse_recipe
from finetune.sweep.board import Board, Task, Worker
from finetune.sweep.database import GRACE, address, open_storage, shown
from finetune.sweep.search import draw, sampler, search_of
from finetune.sweep.study import open_board

POINTS = {f"r-{r}": {"adapter.r": r} for r in range(1, 13)}
SPACE = (
    "{trials: 8, space: {train.learning_rate: {low: 1e-5, high: 1e-1, log: true}, adapter.r: [2, 4, 8], "
    "train.warmup_steps: {low: 0, high: 9}}}"
)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return parse_recipe("", [f"runs={tmp_path}"], name="shared")


@pytest.fixture
def search(tmp_path: Path) -> Recipe:
    return parse_recipe("", [f"runs={tmp_path}", f"sweep.search={SPACE}"], name="shared")


@contextmanager
def working(recipe: Recipe, name: str) -> Iterator[Board]:
    """A process at work, as the step makes it."""
    folder = Path(recipe.runs) / recipe.name
    place = folder / "workers" / name
    place.mkdir(parents=True)
    with hold(place, doing="sweep"), closing(open_board(recipe, folder, Worker.at(place))) as board:
        yield board


def take_all(recipe: Recipe, name: str, taken: Path) -> None:
    with working(recipe, name) as board:
        names = []
        while (task := board.claim(POINTS)) is not None:
            names.append(task.name)
            board.finish(task, {"name": task.name, "error": None}, value=None, pruned=False)
        (taken / name).write_text(json.dumps(names))


def take_one_and_die(recipe: Recipe) -> None:
    with working(recipe, "dies") as board:
        assert board.claim(POINTS) is not None
        os._exit(9)


def in_process(*arguments: object) -> multiprocessing.Process:
    target, *rest = arguments
    process = multiprocessing.get_context("spawn").Process(target=target, args=tuple(rest))  # type: ignore[arg-type]
    process.start()
    return process  # type: ignore[return-value]


def every_run_is_done_once(recipe: Recipe, folder: Path) -> None:
    """Two processes take the runs of one study between them."""
    with working(recipe, "first") as board:
        board.offer(POINTS)
    taken = folder / "taken"
    taken.mkdir()
    processes = [in_process(take_all, recipe, f"worker{number}", taken) for number in range(2)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    done = [name for path in taken.iterdir() for name in json.loads(path.read_text())]
    assert sorted(done) == sorted(POINTS)


def one_of_two_is_taken_by_who_dies(board: Board, recipe: Recipe) -> None:
    board.offer({"r-1": POINTS["r-1"], "r-2": POINTS["r-2"]})
    process = in_process(take_one_and_die, recipe)
    process.join()
    assert process.exitcode == 9


def test_processes_that_share_a_study_do_every_run_once(recipe: Recipe, tmp_path: Path) -> None:
    every_run_is_done_once(recipe, tmp_path)


def test_the_run_of_a_killed_process_goes_to_the_next_one_and_that_of_a_living_one_does_not(recipe: Recipe) -> None:
    with working(recipe, "first") as board:
        one_of_two_is_taken_by_who_dies(board, recipe)
        alive = board.claim(None)
        assert alive is not None and alive.name == "r-2" and board.claim(None) is None
        with working(recipe, "second") as other:
            other.take_back()
            again = other.claim(None)
            assert again is not None and (again.name, again.overrides) == ("r-1", {"adapter.r": 1})
            other.take_back()
            assert other.claim(None) is None, "both live"
        assert sorted(entry.name for entry in board.entries()) == ["r-1", "r-2"]


def beat_last(board: Board, task: Task, *, seconds_ago: int) -> None:
    with board.storage.engine.begin() as connection:
        connection.execute(text(f"UPDATE trial_heartbeats SET heartbeat = datetime('now', '-{seconds_ago} seconds')"))


def test_of_another_machine_the_heartbeat_tells(recipe: Recipe) -> None:
    with working(recipe, "here") as board:
        board.offer({"r-1": {"adapter.r": 1}})
        task = board.claim(None)
        assert task is not None
        task.trial.set_user_attr("worker", ["elsewhere", "/its/own/folder"])
        beat_last(board, task, seconds_ago=GRACE - 60)
        board.take_back()
        assert board.claim(None) is None
        beat_last(board, task, seconds_ago=GRACE + 60)
        board.take_back()
        assert (again := board.claim(None)) is not None and again.name == "r-1"
        board.finish(task, {"name": "r-1", "error": "late"}, value=None, pruned=False)
        assert board.entries()[0].row is None, "it was given to another meanwhile, whose row counts"


def test_a_kill_between_taking_a_run_and_saying_so_loses_nothing(recipe: Recipe) -> None:
    from optuna.trial import TrialState

    with working(recipe, "here") as board:
        board.offer({"r-1": {"adapter.r": 1}})
        (waiting,) = board.trials()
        board.storage.set_trial_state_values(waiting._trial_id, state=TrialState.RUNNING)
        board.take_back()
        assert (task := board.claim(None)) is not None and task.name == "r-1"


def test_what_failed_is_put_up_again_and_what_is_done_is_not(recipe: Recipe) -> None:
    with working(recipe, "here") as board:
        board.offer({"r-1": {}, "r-2": {}})
        for error in ("broken", None):
            task = board.claim(None)
            assert task is not None
            board.finish(task, {"name": task.name, "error": error}, value=None, pruned=False)
        board.offer({"r-1": {}, "r-2": {}, "r-3": {}})
        names = [task.name for _ in range(2) if (task := board.claim(None)) is not None]
        assert names == ["r-1", "r-3"] and board.claim(None) is None


def test_a_study_of_another_recipe_is_refused_with_what_differs_and_what_to_write(recipe: Recipe) -> None:
    with working(recipe, "first"):
        pass
    other = parse_recipe("", [f"runs={recipe.runs}", "train.max_steps=7"], name="shared")
    with (
        pytest.raises(
            RecipeError, match=r"study.db: the study 'shared' is of another recipe: train.max_steps is null there and 7 here.*name=NEW"
        ),
        working(other, "second"),
    ):
        pass


def test_runs_measured_otherwise_are_measured_again_by_the_same_study(recipe: Recipe) -> None:
    with working(recipe, "first") as board:
        board.offer({"r-1": {}})
        task = board.claim(None)
        assert task is not None
        board.finish(task, {"name": "r-1", "error": None}, value=None, pruned=False)
        assert board.entries()[0].row is not None
    more = parse_recipe("", [f"runs={recipe.runs}", "evaluate.items=7"], name="shared")
    with working(more, "second") as board:
        assert board.entries()[0].row is None
        board.offer({"r-1": {}})
        assert (task := board.claim(None)) is not None and task.name == "r-1"


def drawn(board: Board, recipe: Recipe, count: int) -> None:
    """So many trials; the loss is a closed form of what is drawn."""
    search = search_of(recipe)
    for _ in range(count):
        trial = board.study.ask()
        board.study.sampler = sampler(search, seed=recipe.seed, number=trial.number)
        setting = draw(trial, search)
        loss = abs(setting["train.learning_rate"] - 1e-3) + setting["adapter.r"]
        task = Task(trial, json.dumps(setting), setting)
        assert board.begin(task, drawn=True)
        board.finish(task, {"name": task.name, "error": None}, value=loss, pruned=False)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_search_that_goes_on_draws_what_an_undisturbed_one_draws(search: Recipe, tmp_path: Path) -> None:
    found = []
    for name, parts in (("whole", [12]), ("cut", [11, 1])):
        recipe = search.model_copy(update={"runs": str(tmp_path / name)})
        for number, count in enumerate(parts):
            with working(recipe, f"worker{number}") as board:
                drawn(board, recipe, count)
                entries = board.entries()
        found.append([entry.overrides for entry in entries])
    assert found[0] == found[1] and len(found[0]) == 12
    rates = [setting["train.learning_rate"] for setting in found[0]]
    assert all(1e-5 <= rate <= 1e-1 and float(f"{rate:.4g}") == rate for rate in rates) and len(set(rates)) > 10


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_the_same_draw_twice_is_one_run(search: Recipe) -> None:
    with working(search, "here") as board:
        for whole in (True, False):
            trial = board.study.ask()
            task = Task(trial, "same", {"adapter.r": 2})
            assert board.begin(task, drawn=True) is whole
        assert len(board.trials()) == 1


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("$NO_SUCH_VARIABLE", r"found \$NO_SUCH_VARIABLE, but no variable of that name holds a URL; type: export"),
        ("sqlite:////no/such/folder/study.db", "can not be opened .*unable to open database file"),
        ("study.db", "no URL of a database; write for example postgresql://"),
        (
            "postgresql+nodriver://me:secret@localhost/x",
            r"needs a driver.*type: pip install 'psycopg\[binary\]', and begin the URL with post",
        ),
        (
            "mariadb+nodriver://me:secret@localhost/x",
            r"needs a driver.*type: pip install pymysql, and begin the URL with mysql\+pymysql://",
        ),
        (
            "postgres://me:secret@localhost/x",
            r"^sweep\.storage: postgres://me:\*\*\*@localhost/x begins with a name that SQLAlchemy does not know; "
            r"write postgresql\+psycopg://, and the rest as it is$",
        ),
        ("oracle+nodriver://me:secret@localhost/x", "needs a driver that is not installed .*; install the package of its driver"),
    ],
)
def test_a_database_that_can_not_be_used_is_named_with_the_cure(storage: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        open_storage(address(storage, tmp_path))
    assert "secret" not in str(caught.value)


def test_a_password_comes_from_a_variable_and_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STUDY", "postgresql://me:secret@host/x")
    assert address("$STUDY", tmp_path) == "postgresql://me:secret@host/x"
    assert shown(address("$STUDY", tmp_path)) == "postgresql://me:***@host/x"


SOUND = "space: {adapter.r: [2, 4]}"


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{trials: 2}", "found nothing to search"),
        ("{trials: 3, space: {adapter.r: [2, 4]}}", "found 3, but the space has 2 points"),
        (f"{{trials: 2, {SOUND}, metric: bleu}}", "found 'bleu'; write one of valid_loss"),
        ("{trials: 2, space: {data.packing: [true, false]}}", "changes the held-out rows.*metric: valid_loss and pruner"),
        ("{trials: 2, space: {train.learning_rate: {low: 2, high: 1}}}", "LOW below HIGH"),
        ("{trials: 2, space: {train.learning_rate: {low: 0, high: 1, log: true}}}", "log=true with low above 0"),
        ("{trials: 2, space: {adapter.r: []}}", "a list of choices"),
    ],
)
def test_a_search_that_can_not_be_is_refused(search: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        search_of(parse_recipe("", [f"sweep.search={search}"]))


def test_a_search_over_data_goes_by_a_score_and_without_a_pruner() -> None:
    search_of(parse_recipe("", ["sweep.search={trials: 2, space: {data.learn: [all, answer]}, metric: bits_per_byte, pruner: none}"]))


def test_a_sweep_is_of_one_kind() -> None:
    with pytest.raises(RecipeError, match="one of grid and runs"):
        parse_recipe("", ["sweep.grid={adapter.r: [1]}", "sweep.runs=[{adapter: lora}]"])
