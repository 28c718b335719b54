"""The command line: finetune VERB RECIPE [key=value ...]."""

from __future__ import annotations

import argparse
import inspect
import io
import os
import sys
from collections.abc import Sequence

from finetune import __version__
from finetune.catalogue import KINDS
from finetune.commands import RECIPE_FREE, VERBS
from finetune.errors import FinetuneError
from finetune.files import disk_fault

_ROAD = """from a repository to your editor:
  finetune demo            all of it once, small, on the repository you are in
  finetune build RECIPE    then train, evaluate, export, serve: the same RECIPE
  python -m app runs/NAME  base and tuned side by side, in a browser

RECIPE is a YAML file, or the folder of a run (runs/NAME). KEY=VALUE after it
wins over what it says. Every key with its default: finetune list recipe.
Options of a verb: finetune VERB --help."""
_RECIPE = "a recipe (YAML), or the folder of a run"
_RECIPE_OF = {"demo": "another recipe (YAML) than the demo's own"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. 0: done; 2: a mistake the user can put right, one message; 1: ours, with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path, or a terminal, of another alphabet
    options = _read(arguments)
    try:
        VERBS[options.verb](options)
    except FinetuneError as error:
        print(f"finetune {options.verb}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has seen enough: finetune list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if (fault := disk_fault(error)) is None:
            raise
        print(f"finetune {options.verb}: {fault}", file=sys.stderr)
        return 2
    except UnicodeEncodeError as error:
        if (names := sys.getfilesystemencoding()) == "utf-8":
            raise
        letter = error.object[error.start]
        print(
            f"finetune {options.verb}: this locale writes paths in {names}, which has no {letter!r}; type: export LC_ALL=C.UTF-8",
            file=sys.stderr,
        )
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


def positive_number(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def whole_number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="finetune",
        description="From private repositories to an adapter that is proven on them.",
        epilog=_ROAD,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"octotune {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, command in VERBS.items():
        help_text = inspect.getdoc(command) or ""
        verb = verbs.add_parser(name, help=help_text.splitlines()[0], description=help_text)
        if name == "list":
            verb.add_argument(
                "kind", nargs="?", default="", metavar="KIND", help=f"one of {', '.join(KINDS)}; none: a line for each choice"
            )
        elif name == "why":
            _why_options(verb)
        elif name not in RECIPE_FREE:
            count = "?" if name == "demo" else None
            verb.add_argument("recipe", nargs=count, default="", metavar="RECIPE", help=_RECIPE_OF.get(name, _RECIPE))
            verb.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="wins over the recipe, for example adapter.r=32")
        _own_options(name, verb)
    return parser


def _why_options(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(overrides=[])
    verb.add_argument("recipe", metavar="RECIPE", help=_RECIPE)
    verb.add_argument("targets", nargs="*", metavar="PATH", help="a path, REPOSITORY:PATH, a pattern or a commit; none: reasons, counted")
    verb.add_argument("--reason", default="", metavar="REASON", help="only what was left out for this reason")
    verb.add_argument("-n", type=whole_number, default=20, metavar="N", help="how many to explain")


def _plan_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--gpu", metavar="SIZE", help="plan for a GPU of this size, for example 24GiB, whatever this machine has")
    verb.add_argument("--tokens-per-second", type=positive_number, metavar="N", help="a rate that you measured, for the hours")
    verb.add_argument("--tflops", type=positive_number, metavar="N", help="the dense rate of your GPU in its number format, for the hours")
    verb.add_argument("--utilisation", type=positive_number, metavar="SHARE", help="the share of --tflops that is reached")
    verb.add_argument("--json", action="store_true", help="print the plan as JSON")


def _own_options(name: str, verb: argparse.ArgumentParser) -> None:
    if name == "build":
        verb.add_argument(
            "--show",
            type=whole_number,
            default=0,
            metavar="N",
            help="print the first N samples of each side, with the learnt tokens marked",
        )
        verb.add_argument("--export", action="append", metavar="FORMAT", help="write it for another trainer too: finetune list formats")
    if name == "plan":
        _plan_options(verb)
    if name == "train":
        verb.add_argument("--dry-run", action="store_true", help="print the resolved recipe and the plan, train nothing")
    if name == "compare":
        verb.add_argument("-n", type=whole_number, default=5, metavar="N", help="held-out holes to show (default: %(default)s)")
    if name == "serve":
        _serve_options(verb)
    if name == "demo":
        verb.add_argument("--repo", default="", metavar="PATH", help="the git repository to learn from (default: the folder you stand in)")


def _serve_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: %(default)s); another asks for --api-key"
    )
    verb.add_argument("--port", type=whole_number, default=8012, metavar="N", help="default: %(default)s; 0: a free one, which is printed")
    verb.add_argument("--api-key", default="", metavar="KEY", help="who does not send it is refused; also read from FINETUNE_API_KEY")
    verb.add_argument("--engine", choices=("auto", "llama", "vllm"), default="auto", help="auto: vLLM where it is installed")
    verb.add_argument("--export", default="", metavar="NAME", help="a folder in the run's export/; empty: the best there is")
    verb.add_argument(
        "--parallel", type=whole_number, default=1, metavar="N", help="requests answered at once, each with a context of its own"
    )
    verb.add_argument("--vllm", default="", metavar="WORDS", help="more words for vLLM, for example: --vllm='--gpu-memory-utilization 0.5'")


if __name__ == "__main__":
    sys.exit(main())
