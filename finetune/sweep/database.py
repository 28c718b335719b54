"""Where a study lives: SQLite in the sweep's folder, or any database that SQLAlchemy has a URL for."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import RecipeError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

STUDY = "study.db"
INTERVAL, GRACE = 30, 300  # seconds between heartbeats, and without one until a run is given to another
_DRIVERS = (
    (("postgresql",), "'psycopg[binary]'", "postgresql+psycopg"),
    (("mysql", "mariadb"), "pymysql", "mysql+pymysql"),
)
_OTHER_NAMES = {"postgres": "postgresql+psycopg"}  # of PostgreSQL's own tools, for what SQLAlchemy calls otherwise
_WAIT = 60  # seconds that a writer of SQLite waits for others


def address(storage: str, folder: Path) -> str:
    """The URL of the study. Raises RecipeError for a variable that holds none."""
    if not storage:
        return f"sqlite:///{(folder / STUDY).resolve()}"
    if not storage.startswith("$"):
        return storage
    url = os.environ.get(storage[1:], "")
    if not url:
        raise RecipeError(f"sweep.storage: found {storage}, but no variable of that name holds a URL; type: export {storage[1:]}=URL")
    return url


def shown(url: str) -> str:
    """The URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError as error:
        raise RecipeError(
            "sweep.storage: found no URL of a database; write for example postgresql://user@host/name or sqlite:////shared/study.db"
        ) from error


def open_storage(url: str) -> RDBStorage:
    """The database, with its tables. Raises RecipeError when it can not be reached or lacks its driver."""
    import optuna
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    from finetune.sweep.board import again

    name = shown(url)
    if (kind := _kind(url)) in _OTHER_NAMES:
        begins = _OTHER_NAMES[kind]
        raise RecipeError(
            f"sweep.storage: {name} begins with a name that SQLAlchemy does not know; write {begins}://, and the rest as it is"
        )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sqlite = url.startswith("sqlite")
    engine: dict[str, Any] = {"connect_args": {"timeout": _WAIT}} if sqlite else {"pool_pre_ping": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = optuna.storages.RDBStorage(
                url, engine, heartbeat_interval=INTERVAL, grace_period=GRACE, heartbeat_stale_trial_callback=again
            )
    except (ImportError, NoSuchModuleError) as error:
        raise RecipeError(
            f"sweep.storage: {name} needs a driver that is not installed ({error.__cause__ or error}); {_driver(url)}"
        ) from error
    except (SQLAlchemyError, RuntimeError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise RecipeError(f"sweep.storage: {name} can not be opened ({reason}); start the database, or write another URL") from error
    if sqlite:
        _in_turn(storage)
    return storage


def _kind(url: str) -> str:
    return url.partition(":")[0].partition("+")[0]


def _driver(url: str) -> str:
    """What to type for a driver of this kind of database."""
    kind = _kind(url)
    for kinds, package, begins in _DRIVERS:
        if kind in kinds:
            return f"type: pip install {package}, and begin the URL with {begins}://"
    return "install the package of its driver"


def _in_turn(storage: RDBStorage) -> None:
    """SQLite knows no SELECT FOR UPDATE: two processes would take one trial. Each transaction waits for the one before it."""
    from sqlalchemy import event

    @event.listens_for(storage.engine, "connect")
    def _no_transactions_of_its_own(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(storage.engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    storage.engine.dispose()  # the connections that were opened without
