"""Serves the playground for one or more runs: python -m app RUN [RUN...]"""

from __future__ import annotations

import argparse
import ipaddress
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from finetune.base import read_base
from finetune.errors import EvaluateError, FinetuneError
from finetune.run import Run, load_run

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
    except KeyboardInterrupt:
        print("\npython -m app: ended", file=sys.stderr)
    return 0


def serve(options: argparse.Namespace) -> None:
    """Checks everything that can be wrong, then loads the model, then opens the page."""
    auth = _login(options.auth)
    _require_login(options.host, auth)
    runs = [load_run(Path(folder)) for folder in options.runs]
    for run in runs:
        run.require("train", error=EvaluateError)
    port = free_port(options.host, options.port)
    base = read_base(runs[0].recipe.model)
    _say(f"loading {base.name} ...")
    # Only now: gradio and torch take seconds, a mistyped folder should not.
    from app import ui
    from app.heldout import longest_answer, questions
    from finetune.generate import open_completer

    page = ui.playground(open_completer(runs), title=_title(runs), holes=questions(runs[0], base), longest=longest_answer(base))
    url = ui.open_page(page, host=options.host, port=port, auth=auth)
    _say(f"the playground is at {url}  (Ctrl+C ends it)")
    page.block_thread()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Base and tuned side by side, in a browser on this machine.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a trained run; several share one base model")
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def free_port(host: str, port: int | None) -> int:
    """The port that was asked for, or the first free one; found before the model is loaded, which can take minutes."""
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
