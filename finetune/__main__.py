"""The command line: finetune VERB RECIPE [key=value ...]."""

from __future__ import annotations

import argparse
import errno
import inspect
import sys
from collections.abc import Sequence

from finetune import __version__
from finetune.commands import RECIPE_FREE, VERBS
from finetune.errors import FinetuneError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. 0: done; 2: a mistake the user can put right, one message; 1: ours, with a traceback."""
    options = _parser().parse_args(arguments)
    try:
        VERBS[options.verb](options)
    except FinetuneError as error:
        print(f"finetune {options.verb}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"finetune {options.verb}: the disk is full ({error.filename}); free some room and type the same again", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"finetune {options.verb}: stopped; type the same again to go on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="finetune", description="From private repositories to an adapter proven on them.")
    parser.add_argument("--version", action="version", version=f"octotune {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, command in VERBS.items():
        help_text = inspect.getdoc(command) or ""
        verb = verbs.add_parser(name, help=help_text.splitlines()[0], description=help_text)
        if name == "list":
            verb.add_argument("family", nargs="?", default="", help="filters, miners, methods, metrics, exporters or families")
        elif name not in RECIPE_FREE:
            count = "?" if name == "demo" else None
            verb.add_argument("recipe", nargs=count, default="", help="a recipe (YAML) or the folder of a run")
            verb.add_argument("overrides", nargs="*", metavar="key=value", help="for example adapter.r=32")
        _own_options(name, verb)
    return parser


def _own_options(name: str, verb: argparse.ArgumentParser) -> None:
    if name == "build":
        verb.add_argument("--show", type=int, default=0, metavar="N", help="print N samples with the learnt tokens marked")
    if name == "train":
        verb.add_argument("--dry-run", action="store_true", help="print the resolved recipe and the plan, train nothing")
    if name == "compare":
        verb.add_argument("-n", type=int, default=5, help="held-out holes to show")
    if name == "demo":
        verb.add_argument("--repo", default="", metavar="PATH", help="the git repository to learn from")


if __name__ == "__main__":
    sys.exit(main())
