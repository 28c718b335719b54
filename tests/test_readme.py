"""Every command that the README shows is typed here, in a clone of this repository, with smoke sizes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from watching import ROOT, bounded

README = (ROOT / "README.md").read_text(encoding="utf-8")
SMOKE = ["train.max_steps=2", "train.accumulation=1", "evaluate.items=3", "evaluate.max_new_tokens=8", "data.history=20"]
LEFT_OUT = {
    "make test": "it is what is running",
    "pip install -e '.[notebooks]' jupyterlab": "it needs a package index; test_notebooks.py executes the notebooks",
    "jupyter lab notebooks": "it is not ours, and ends by Ctrl+C alone",
    "finetune sweep recipes/astraios-demo.yaml": "seven trainings; tests/sweep and notebook 3 run sweeps, and the recipe is checked here",
}
SHOWN = re.findall(r"^\$ (.+)$", README, re.MULTILINE)
IN_TABLES = re.findall(r"^\|.*\| `((?:finetune|python -m app) [^`]+)` \|$", README, re.MULTILINE)
COMMANDS = list(dict.fromkeys([*SHOWN, *IN_TABLES]))
LISTENING = ("python -m app", "finetune serve")
ENDING = [command for command in COMMANDS if command not in LEFT_OUT and not command.startswith(LISTENING)]
NEEDS = {"why": 1, "train": 1, "evaluate": 2, "compare": 2, "export": 2, "serve": 4, "app": 2}  # of the five commands


def five() -> list[str]:
    """The block of commands from repository to editor."""
    block = README.split("## From repository to editor")[1].split("```")[1]
    return re.findall(r"^\$ (.+)$", block, re.MULTILINE)


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def smoke(command: str) -> list[str]:
    """The command, with sizes that take seconds; `make demo` takes them through its variable."""
    words = command.split()
    if words[:2] == ["make", "demo"]:
        venv = Path(sys.executable).parent.parent
        return [*words, "--assume-old=setup", f"VENV={venv}", f"SET={' '.join(SMOKE)}"]
    walks = words[0] == "finetune" and words[1] in ("build", "plan", "train", "evaluate", "compare", "export")
    cut = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    return [*words[:cut], *SMOKE, *words[cut:]] if walks else words


def before(command: str) -> list[str]:
    """Those of the five commands that one stands on: what it shows of a run needs the run."""
    words = command.split()
    verb = "app" if "app" in words else words[1]
    return five()[: NEEDS.get(verb, 0)] if words[0] in ("finetune", "python") else []


def test_five_commands_lead_from_a_repository_to_an_editor() -> None:
    assert [command.split()[1] for command in five()] == ["build", "train", "evaluate", "export", "serve"]


def test_the_readme_shows_every_verb_that_makes_something_and_stays_short() -> None:
    from finetune.commands import VERBS

    shown = {command.split()[1] for command in COMMANDS if command.startswith("finetune ")} | {"demo"}
    assert set(VERBS) == shown
    assert len(README.splitlines()) < 200
    assert "make demo" in COMMANDS
    assert len(IN_TABLES) >= 10, "each row of the table has a command"


def test_what_is_left_out_is_still_there_and_its_recipe_is_sound() -> None:
    from finetune.__main__ import main

    assert set(LEFT_OUT) <= set(COMMANDS)
    assert main(["check", str(ROOT / "recipes" / "astraios-demo.yaml")]) == 0


def test_every_link_leads_to_a_file_and_every_ratio_stands_on_the_page_it_names() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert not [link for link in links if not (ROOT / link).exists()]
    rows = re.findall(r"^\| .* \| ([\d.]+) \| \[.*\]\((docs/benchmarks/\w+\.md)\) \|$", README, re.MULTILINE)
    assert len(rows) >= 5
    for number, page in rows:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d]|\.\d)", text), f"{page} does not say {number}"
        assert re.search(r"(`|^    )python benchmarks/", text, re.MULTILINE), f"{page} names no command"


@pytest.fixture(scope="module")
def typed(clone: Path) -> Callable[[str], None]:
    """Types a command in the clone, after those it stands on; each once, whichever test comes first."""
    ended: set[str] = set()

    def type_in(command: str) -> None:
        for each in [*before(command), command]:
            if each not in ended:
                done = subprocess.run(smoke(each), cwd=clone, env=environment(), capture_output=True, text=True, check=False, timeout=600)
                assert done.returncode == 0, f"{each}\n{done.stdout}{done.stderr}"
                ended.add(each)

    return type_in


@pytest.mark.parametrize("command", ENDING)
def test_a_readme_command_ends_well(typed: Callable[[str], None], command: str) -> None:
    typed(command)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("finetune serve")])
def test_the_readmes_server_answers_on_loopback_until_it_is_stopped(clone: Path, typed: Callable[[str], None], command: str) -> None:
    pytest.importorskip("xllamacpp")
    for earlier in before(command):
        typed(earlier)
    words = [*command.split(), "--port", "0"]
    with subprocess.Popen(words, cwd=clone, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        said = []
        with bounded(server, seconds=300):
            for line in server.stdout:
                said.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+(?=/v1/completions)", line):
                    assert b"data" in urllib.request.urlopen(f"{found[0]}/v1/models", timeout=30).read()
                    break
            else:
                pytest.fail("".join(said))
            server.send_signal(signal.SIGINT)
            said.append(server.stdout.read())
            assert server.wait() == 0, "".join(said)
        assert "Continue" in "".join(said) or "continue" in "".join(said)


@pytest.mark.parametrize("command", [command for command in COMMANDS if "-m app" in command])
def test_the_readmes_playground_answers_on_loopback(clone: Path, typed: Callable[[str], None], command: str) -> None:
    for earlier in before(command):
        typed(earlier)
    words = [sys.executable, *command.split()[1:]]
    with subprocess.Popen(words, cwd=clone, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as app:
        assert app.stdout is not None
        said = []
        with bounded(app, seconds=300):
            for line in app.stdout:
                said.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    assert b"<html" in urllib.request.urlopen(found[0], timeout=30).read()
                    break
            else:
                pytest.fail("".join(said))
        app.terminate()
