"""The command line: one clear message for each mistake, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.__main__ import main

Files = dict[str, str]


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.fixture
def recipe(tmp_path: Path, tiny_base: Path) -> str:
    """A recipe whose run lies in the test's own folder."""
    return write(tmp_path / "mine.yaml", f"runs: {tmp_path / 'runs'}\nmodel: {{path: {tiny_base}}}\ndata: {{row_length: 256}}\n")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a command that must end with exit code 2."""
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return shown.err


def test_a_recipe_without_repositories_says_what_to_write(recipe, capsys) -> None:
    assert "data.repositories" in refused(capsys, "build", recipe)


def test_steps_out_of_order_say_what_to_type_first(recipe, capsys) -> None:
    assert "type: finetune build" in refused(capsys, "train", recipe)
    assert "type: finetune" in refused(capsys, "evaluate", recipe)
    assert "type: finetune" in refused(capsys, "export", recipe)
    assert "type: finetune" in refused(capsys, "compare", recipe)


def test_a_row_longer_than_the_context_is_refused_before_any_work(recipe, capsys) -> None:
    assert "data.row_length: found 513, but" in refused(capsys, "check", recipe, "data.row_length=513")


def test_every_list_that_a_build_would_refuse_is_named_at_check(recipe, capsys, tmp_path) -> None:
    """They used to show at the build, one at a time. A run that is built can be gone on with though its lists are gone."""
    tasks = write(tmp_path / "tasks.jsonl", '{"task_id": "a/1", "prompt": "Write how much room a rectangle takes up on the paper."}\n' * 3)
    write(tmp_path / "torn.jsonl", '{"task_id":\n')
    benchmarks = f"data.decontaminate=[{{path: {tasks}, fields: [promt]}}, {tmp_path}/torn.jsonl, {tmp_path}/none.jsonl]"
    lists = ["data.languages=[python, Java]", f"data.opt_out=[{tmp_path}/none]", "data.exclude=['!']", benchmarks]
    message = refused(capsys, "check", recipe, *lists)
    for line, said in zip(
        message.splitlines(),
        [
            "data.languages: found 'python'; did you mean Python?",
            "data.exclude: '!'",
            f"{tasks}: no item has a field 'promt'; write one of prompt, task_id",
            f"{tmp_path}/torn.jsonl:1: ",
            f"data.decontaminate: {tmp_path}/none.jsonl: No such file or directory; write the path of a JSONL file",
        ],
        strict=True,
    ):
        assert said in line
    assert f"data.opt_out: {tmp_path}/none: No such file" in refused(capsys, "check", recipe, lists[1])
    assert main(["check", recipe, f"data.decontaminate=[{tasks}]"]) == 0
    assert "has not been made; type: finetune build" in refused(capsys, "train", recipe, *lists)


def test_a_check_of_a_benchmark_reads_the_beginning_of_a_long_file(recipe, capsys, tmp_path) -> None:
    from finetune.data.benchmark_files import HEAD

    line = '{"task_id": "a/1", "prompt": "Write how much room a rectangle takes up on the paper."}\n'
    long = write(
        tmp_path / "long.jsonl",
        line * (HEAD // len(line)) + '{"canonical_solution": "return shape.width_of_it * shape.height_of_it"}\n',
    )
    assert main(["check", recipe, f"data.decontaminate=[{{path: {long}, fields: [canonical_solution]}}]"]) == 0
    write(tmp_path / "long.jsonl", "{\n" + line * (HEAD // len(line)))
    assert "long.jsonl:1: " in refused(capsys, "check", recipe, f"data.decontaminate=[{long}]")


def test_a_check_names_every_fault_of_the_benchmarks_as_a_build_would(recipe, capsys, tmp_path) -> None:
    from finetune.data.benchmark_files import HEAD

    line = '{"task_id": "a/1", "prompt": "Write how much room a rectangle takes up on the paper."}\n'
    folder = tmp_path / "tasks"
    folder.mkdir()
    write(folder / "a.jsonl", line)
    write(folder / "b.jsonl", '{"prompt": "x"}\n')
    write(folder / "c.jsonl", "\n")
    write(folder / "d.jsonl", line * (HEAD // len(line) + 2))
    message = refused(capsys, "check", recipe, f"data.decontaminate=[{{path: {folder}, fields: [task_id, promt, answer]}}]")
    said = [f"{folder}/{name}.jsonl: no item has a field {fields}" for name, fields in (("a", "'promt' or 'answer'"), ("d", "'promt' or"))]
    said[1:1] = [f"{folder}/b.jsonl: no item has a field 'task_id'", f"{folder}/c.jsonl: holds no item; write the path of a JSONL file"]
    assert all(part in found for found, part in zip(message.splitlines(), said, strict=True))
    message = refused(capsys, "check", recipe, f"data.decontaminate=[{{path: {folder}/a.jsonl, min_characters: 99}}]")
    assert "a.jsonl: no text of 99 characters or more in any field" in message


def test_an_override_in_the_recipes_place_is_named(capsys) -> None:
    assert "where the recipe belongs" in refused(capsys, "check", "adapter.r=3")


def test_a_run_is_named_by_its_folder_too(recipe, capsys, tmp_path) -> None:
    from finetune.recipe import load_recipe
    from finetune.run import open_run

    open_run(load_recipe(Path(recipe), ["seed=5"]))
    assert main(["check", str(tmp_path / "runs" / "mine")]) == 0


def test_overrides_may_stand_on_both_sides_of_an_option(recipe, capsys) -> None:
    assert "no git repository" in refused(capsys, "build", recipe, "seed=1", "--show", "2", "data.repositories=[/nowhere]")


def test_looking_at_a_run_does_not_change_it(recipe, capsys, tmp_path) -> None:
    from finetune.recipe import load_recipe
    from finetune.run import open_run

    run = open_run(load_recipe(Path(recipe), ["seed=5"]))
    before = (run.folder / "recipe.yaml").read_text()
    assert main(["plan", str(run.folder), "adapter.r=64"]) == 0
    assert (run.folder / "recipe.yaml").read_text() == before


def test_a_run_that_was_moved_is_the_folder_that_was_named(recipe, capsys, tmp_path) -> None:
    from finetune.recipe import load_recipe
    from finetune.run import open_run

    old = open_run(load_recipe(Path(recipe))).folder
    new = old.rename(tmp_path / "elsewhere")
    assert f"type: finetune build {new}" in refused(capsys, "train", str(new))
    assert not old.exists()


def test_list_names_every_choice(capsys) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for kind in ("vendored", "fim", "commits", "lora", "exact_match", "merged", "starcoder2"):
        assert kind in shown
    assert "write one of filters" in refused(capsys, "list", "methodes")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_one_message(recipe, tmp_path, make_repository) -> None:
    """A file system of 64 KiB: what can not be written leaves nothing behind and says so."""
    functions = {f"module_{n}.py": "".join(f"def f{n}_{i}(y):\n    return y + {i}\n" for i in range(200)) for n in range(20)}
    repository = make_repository([("Add modules", functions)])
    command = [sys.executable, "-m", "finetune", "build", recipe, f"data.repositories=[{repository}]", f"runs={tmp_path}/small/runs"]
    small = tmp_path / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size=64k tmpfs "$1" && shift && "$@"; code=$?; ls -A "$0"/runs/mine; exit $code'
    mount = ["unshare", "-Urm", "sh", "-c", script, str(small), str(small)]
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces")
    done = subprocess.run([*mount, *command], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 2, done.stderr
    assert "can not be written (No space left on device); make room there" in done.stderr
    assert "Traceback" not in done.stderr
    assert "data" not in done.stdout.split()


def test_a_locale_without_the_letters_of_a_path_is_named(recipe, tmp_path, make_repository) -> None:
    """Python takes UTF-8 for the locales C and POSIX unless it is told not to; other locales it takes at their word."""
    make_repository([("Start", {"größe.py": "größe = 1\n"})], name="größe")
    ascii_alone = os.environ | {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "finetune", "build", recipe, f'data.repositories=["{tmp_path}/gr\\u00f6\\u00dfe"]']
    done = subprocess.run(command, env=ascii_alone, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "finetune build: this locale writes paths in ascii, which has no '\\xf6'; type: export LC_ALL=C.UTF-8\n",
    )


def test_what_the_terminal_can_not_show_is_spelt(recipe, tmp_path) -> None:
    command = [sys.executable, "-m", "finetune", "check", recipe, "data.repositories=[größe]"]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert (done.returncode, b"data      gr\\xf6\\xdfe; fim" in done.stdout) == (0, True)
