"""Serves the playground for one or more runs: python -m app RUN [RUN...]"""

from __future__ import annotations

import argparse
import ipaddress
import json
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.gradio_import import import_gradio
from app.record import Question
from finetune.base import BaseFolder, read_base
from finetune.errors import DataError, EvaluateError, FinetuneError, ModelError
from finetune.files import disk_fault, of_user
from finetune.quiet import import_models
from finetune.records import Completer
from finetune.run import Run, load_run

if TYPE_CHECKING:
    import gradio as gr

_PORTS = range(7860, 7960)  # where gradio pages are looked for
_HIGHEST_PORT = 65535


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until Ctrl+C. 0: ended; 2: a mistake the user can put right, one message."""
    options = _parser().parse_args(arguments)
    try:
        serve(options)
    except FinetuneError as error:
        print(f"python -m app: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if (fault := disk_fault(error)) is None:
            raise
        print(f"python -m app: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\npython -m app: ended", file=sys.stderr)
    return 0


def serve(options: argparse.Namespace) -> None:
    """Checks what can be wrong without the weights, opens the page, then loads the model: the page says so to who asks meanwhile."""
    auth = _login(options.auth)
    _require_login(options.host, auth)
    moved = [f"model.path={json.dumps(options.base)}"] if options.base else []
    runs = [load_run(Path(folder), moved) for folder in options.runs]
    with _said_of_base():
        if options.base:
            read_base(runs[0].recipe.model)  # before the runs are found to be trained on another
        for run in runs:
            run.require("train", error=EvaluateError)
    free_port(options.host, options.port)  # refused before anything is loaded
    base = _base(runs[0])
    # Only now: gradio and torch take seconds, a mistyped folder should not.
    from finetune.generate import arms_of, check_runs, open_completer

    check_runs(runs)
    import_gradio()
    from app import ui
    from app.pending import Pending

    pending = Pending(arms_of(runs))
    page = _page(pending, runs, base)
    # Looked for again: seconds have passed, and who did not ask for a port gets one that is still free.
    url = ui.open_page(page, host=options.host, port=free_port(options.host, options.port), auth=auth)
    try:
        _say(f"the playground is at {url}  (Ctrl+C ends it)\n{reach(options.host, auth)}\nloading {base.name} ...")
        import_models()
        pending.give(open_completer(runs))
        _say(f"{base.name} is loaded")
        page.block_thread()
    finally:
        page.close(verbose=False)


@contextmanager
def _said_of_base() -> Iterator[None]:
    """Mistakes in the place of the base, with the option that can be typed here instead of the recipe's key."""
    try:
        yield
    except FinetuneError as error:
        said = str(error).replace("model.path=FOLDER", "--base FOLDER").replace("model.path=", "--base ")
        raise type(error)(said.replace("model.path of", "--base FOLDER of")) from error


def _base(run: Run) -> BaseFolder:
    """The base of the run. Raises ModelError with the cure where its folder was moved."""
    section = run.recipe.model
    try:
        return read_base(section)
    except ModelError as error:
        folder = of_user(section.path)
        if folder.exists() or not folder.is_absolute():
            raise
        raise ModelError(f"{run.folder}: found no base at {folder}; add --base FOLDER, the place it was moved to") from error


def _page(completer: Completer, runs: Sequence[Run], base: BaseFolder) -> gr.Blocks:
    from app import ui
    from app.asking import Reach
    from app.heldout import longest_answer
    from app.votes import ballots_of

    reach = Reach(longest_answer(base), fills=base.family.fim is not None, instructed=all(_instructed(run) for run in runs))
    return ui.playground(completer, title=_title(runs), holes=_holes(runs[0], base), reach=reach, ballots=ballots_of(runs))


def _instructed(run: Run) -> bool:
    """Whether the run learnt from requests and their answers alone, not from code with or without gaps."""
    from finetune.data.miners.holes import HoleMiner
    from finetune.data.miners.notebooks import Notebooks

    return not any(isinstance(miner, HoleMiner | Notebooks) for miner in run.recipe.data.miners)


def _holes(run: Run, base: BaseFolder) -> list[Question]:
    """The held-out examples; none, and a line on the terminal, where the run has nothing to cut them from."""
    from app.heldout import questions

    try:
        return questions(run, base)
    except (EvaluateError, DataError) as error:
        _say(f"no held-out examples: {error}")
        return []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Base and tuned side by side, in a browser on this machine.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a trained run; several share one base model")
    parser.add_argument("--base", default="", metavar="FOLDER", help="where the base of the runs lies now, if it was moved")
    parser.add_argument("--port", type=int, metavar="N", help=f"where to serve (default: the first free from {_PORTS[0]})")
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve on (default: this machine alone)")
    parser.add_argument("--auth", default="", metavar="USER:PASSWORD", help="ask for a login")
    return parser


def _login(auth: str) -> tuple[str, str] | None:
    if not auth:
        return None
    user, _, password = auth.partition(":")
    if not user or not password:
        raise FinetuneError("--auth: no user and password in it; write --auth USER:PASSWORD")
    return user, password


def _require_login(host: str, auth: tuple[str, str] | None) -> None:
    """A model of private code is not shown to the whole network by one option."""
    if auth is None and not _is_loopback(host):
        raise FinetuneError(f"--host {host}: others on the network could use the model; add --auth USER:PASSWORD, or leave --host out")


def reach(host: str, auth: tuple[str, str] | None) -> str:
    """Who can use the page, in a sentence."""
    if _is_loopback(host):
        who = "every user of this machine, and nobody else" if auth is None else "who has the login, on this machine alone"
        return f"it can be opened by {who}"
    return f"it can be opened by everyone who reaches {host} and has the login; the connection is not encrypted, so use a tunnel (ssh -L)"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def free_port(host: str, port: int | None) -> int:
    """The port that was asked for, or the first free one. Raises FinetuneError with what to write when there is none."""
    if port is not None and not 0 < port <= _HIGHEST_PORT:
        raise FinetuneError(f"--port {port}: no port has this number; write another --port, 1 to {_HIGHEST_PORT}, or leave it out")
    for candidate in _PORTS if port is None else (port,):
        try:
            with socket.create_server((host, candidate), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                return candidate
        except socket.gaierror as error:
            raise FinetuneError(f"--host {host}: no such address on this machine; write --host 127.0.0.1") from error
        except OSError as error:
            reason = error.strerror
    asked = f"--port {port}" if port is not None else f"ports {_PORTS[0]} to {_PORTS[-1]}"
    raise FinetuneError(f"{asked}: can not be served on {host} ({reason}); write another --port, or leave it out")


def _title(runs: Sequence[Run]) -> str:
    names = ", ".join(f"{run.folder} ({run.recipe.adapter.kind})" for run in runs)
    return f"base {runs[0].recipe.model.path} against {names}"


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
