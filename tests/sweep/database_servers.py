"""Database servers of the tests' own, on a socket alone: each gives the URL of an empty database while it runs."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

IS_ROOT = os.geteuid() == 0  # neither server runs as root
SYSTEM = "/usr/sbin:/usr/bin"  # Debian keeps servers out of a user's PATH


class Start(Protocol):
    def __call__(self) -> AbstractContextManager[str]: ...


class Server(NamedTuple):
    """A kind of server: the Python module that talks to it, the program that runs it, and how it is started."""

    driver: str
    program: str | None
    start: Start

    @property
    def missing(self) -> str | None:
        """What is not installed here."""
        if find_spec(self.driver) is None:
            return f"{self.driver} is not installed"
        return None if self.program else "no server is installed"


def _in_path(name: str, places: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=places)


@contextmanager
def _folder(owner: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="study"))
    if IS_ROOT:
        os.chown(folder, pwd.getpwnam(owner).pw_uid, -1)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


POSTGRESQL = _in_path("pg_ctl", os.pathsep.join(sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))))


@contextmanager
def postgresql() -> Iterator[str]:
    assert POSTGRESQL is not None
    owner = {"user": "postgres"} if IS_ROOT else {}
    with _folder("postgres") as folder:

        def run(program: str, *words: str) -> None:
            command = [Path(str(POSTGRESQL)).resolve().parent / program, "-D", folder / "data", *words]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **owner)  # type: ignore[call-overload]

        run("initdb", "--auth=trust", "--no-sync", "--username=me")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "--wait", "--log", str(folder / "log"), "--options", options, "start")
        try:
            yield f"postgresql+psycopg://me:secret@/postgres?host={folder}"
        finally:
            run("pg_ctl", "--wait", "--mode=immediate", "stop")


MARIADB = _in_path("mariadbd", SYSTEM)
_GRANTS = "CREATE DATABASE study; CREATE USER me@localhost IDENTIFIED BY 'secret'; GRANT ALL ON study.* TO me@localhost;"


@contextmanager
def mariadb() -> Iterator[str]:
    assert MARIADB is not None
    owner = ["--user=mysql"] if IS_ROOT else []
    with _folder("mysql") as folder:
        place = [*owner, f"--datadir={folder / 'data'}"]
        client = ["--no-defaults", "--user=root", f"--socket={folder / 'socket'}"]
        bare = "--auth-root-authentication-method=normal"
        subprocess.run(["mariadb-install-db", "--no-defaults", bare, "--skip-test-db", *place], check=True, stdout=subprocess.DEVNULL)
        served = ["--skip-networking", f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"]
        with (folder / "log").open("w") as log, subprocess.Popen([MARIADB, "--no-defaults", *place, *served], stderr=log) as server:
            try:
                subprocess.run(["mariadb-admin", *client, "--wait=60", "--silent", "ping"], check=True, stdout=subprocess.DEVNULL)
                subprocess.run(["mariadb", *client, f"--execute={_GRANTS}"], check=True)
                yield f"mysql+pymysql://me:secret@/study?unix_socket={folder / 'socket'}"
            finally:
                server.kill()


SERVERS: Mapping[str, Server] = {
    "postgresql": Server("psycopg", POSTGRESQL, postgresql),
    "mariadb": Server("pymysql", MARIADB, mariadb),
}
