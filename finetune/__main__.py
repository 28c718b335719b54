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
    options = _read(arguments)
    try:
        VERBS[options.verb](options)
    except FinetuneError as error:
        print(f"finetune {options.verb}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f" ({error.filename})" if error.filename else ""
        print(f"finetune {options.verb}: the disk is full{place}; free some room and type the same again", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"finetune {options.verb}: stopped; type the same again to go on", file=sys.stderr)
        return 130
    return 0


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The words typed; overrides may stand before and after options."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and ("overrides" not in options or any("=" not in word or word.startswith("-") for word in rest)):
        parser.error(f"unknown: {' '.join(rest)}; type: finetune {options.verb} --help")
    if rest:
        options.overrides += rest
    return options


def whole_number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


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
        verb.add_argument("--show", type=whole_number, default=0, metavar="N", help="print N samples with the learnt tokens marked")
    if name == "train":
        verb.add_argument("--dry-run", action="store_true", help="print the resolved recipe and the plan, train nothing")
    if name == "compare":
        verb.add_argument("-n", type=whole_number, default=5, help="held-out holes to show")
    if name == "demo":
        verb.add_argument("--repo", default="", metavar="PATH", help="the git repository to learn from")


if __name__ == "__main__":
    sys.exit(main())
