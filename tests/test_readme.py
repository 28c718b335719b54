"""Every command that the README shows is typed here, in a clone of this repository, with smoke sizes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMOKE = ["train.max_steps=2", "train.accumulation=1", "evaluate.items=3", "evaluate.max_new_tokens=8", "data.history=20"]
LEFT_OUT = {"make test": "it is what is running"}
COMMANDS = re.findall(r"^\$ (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """This checkout as a git repository of its own, with one commit where the sources came without history."""
    folder = tmp_path_factory.mktemp("readme") / "clone"
    if (ROOT / ".git").exists():
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    else:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".venv", "runs"))
        identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
        for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "Sources"]):
            subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def smoke(command: str) -> list[str]:
    """The command, with sizes that take seconds; `make demo` takes them through its variable."""
    words = command.split()
    if words[:2] == ["make", "demo"]:
        venv = Path(sys.executable).parent.parent
        return [*words, "--assume-old=setup", f"VENV={venv}", f"SET={' '.join(SMOKE)}"]
    walks = words[0] == "finetune" and words[1] in ("build", "plan", "train", "evaluate", "compare", "export")
    cut = words.index("-n") if "-n" in words else words.index("--show") if "--show" in words else len(words)
    return [*words[:cut], *SMOKE, *words[cut:]] if walks else words


def test_the_readme_shows_the_whole_road() -> None:
    shown = " ".join(COMMANDS)
    assert all(verb in shown for verb in ("make demo", "make test", "build", "train", "evaluate", "compare", "export", "python -m app"))


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in LEFT_OUT and "-m app" not in command])
def test_a_readme_command_ends_well(clone: Path, command: str) -> None:
    done = subprocess.run(smoke(command), cwd=clone, env=environment(), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [command for command in COMMANDS if "-m app" in command])
def test_the_readmes_playground_answers_on_loopback(clone: Path, command: str) -> None:
    words = [sys.executable, *command.split()[1:]]
    with subprocess.Popen(words, cwd=clone, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as app:
        try:
            assert app.stdout is not None
            lines = []
            for line in app.stdout:
                lines.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    page = urllib.request.urlopen(found[0], timeout=30).read()
                    assert b"<html" in page
                    return
            raise AssertionError("".join(lines))
        finally:
            app.terminate()
