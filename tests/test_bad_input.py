"""What a user can get wrong, typed at the command line: exit code 2, one message with its cure, and every file as it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from watching import content

from finetune.__main__ import main
from finetune.run import Run

MODULES = {f"pump_{n}.py": f"def pump_{n}(a, b):\n    total = a * {n} + b\n    return total - {n}\n" * 4 for n in range(40)}


@pytest.fixture
def recipe(tmp_path: Path, tiny_base: Path) -> str:
    """A recipe whose run lies in the test's own folder, with a base that can be spoilt."""
    shutil.copytree(tiny_base, tmp_path / "base")
    path = tmp_path / "mine.yaml"
    path.write_text(f"runs: {tmp_path / 'runs'}\nmodel: {{path: {tmp_path / 'base'}}}\ndata: {{row_length: 256}}\n")
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """The message of a command that ends with exit code 2 and leaves `folder` as it was, but for a new run's recipe."""
    before = content(folder)
    assert main(arguments) == 2
    after = content(folder)
    assert {path for path, what in before.items() if after.get(path, "gone") != what} == set(), "nothing that lay there is touched"
    assert set(after) - set(before) <= {"runs", "runs/mine", "runs/mine/recipe.yaml"}
    message = capsys.readouterr().err
    assert message.startswith(f"finetune {arguments[0]}: ") and "Traceback" not in message
    return message.removeprefix(f"finetune {arguments[0]}: ")


def a_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def empty_repository(folder: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


REPOSITORIES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a folder": (a_folder, "no git repository"),
    "nothing": (lambda folder: folder, "no git repository"),
    "an empty repository": (empty_repository, "an empty repository, without any commit"),
}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_path_that_gives_no_files_is_one_message(name: str, tmp_path: Path, recipe: str, capsys) -> None:
    make, words = REPOSITORIES[name]
    path = make(tmp_path / "input")
    message = refused(capsys, tmp_path, "build", recipe, f"data.repositories=[{path}]")
    assert message.startswith(f"{path}: ") and words in message and "; " in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "files", [{"image.png": b"\x89PNG\0\0"}, {"empty.py": ""}, {"vendor/a/b.py": "x = 1\n" * 9}], ids=["binary", "empty", "vendored"]
)
def test_a_repository_without_a_usable_file_is_one_message(
    files: dict[str, str | bytes], make_repository, tmp_path: Path, recipe: str, capsys
) -> None:
    repository = make_repository([("Add it", files)], "input")
    message = refused(capsys, tmp_path, "build", recipe, f"data.repositories=[{repository}]")
    assert message.startswith(f"{repository}: not a single usable file among 1 paths (dropped: ")
    assert "write data.repositories=[PATH] of a repository with source code" in message


def test_five_mistakes_in_a_recipe_are_named_at_once_with_their_lines(tmp_path: Path, tiny_base: Path, capsys) -> None:
    path = tmp_path / "five.yaml"
    path.write_text(
        f"runs: {tmp_path / 'runs'}\nmodel:\n  path: {tiny_base}\n  quantisation: nf4\ndata:\n  row_length: many\n"
        "  miners: [fin]\nadapter: {kind: lora, r: -1}\ntrain:\n  schedule: zigzag\n"
    )
    for verb in ("check", "build", "plan", "train", "evaluate", "compare", "export", "sweep"):
        lines = refused(capsys, tmp_path, verb, str(path)).splitlines()
        for number, words in ((4, "quantization"), (6, "row_length"), (7, "fim"), (8, "adapter"), (10, "schedule")):
            (fault,) = [line for line in lines if line.startswith(f"{path}:{number}")]
            assert words in fault


def without(name: str) -> Callable[[Path], None]:
    return lambda base: (base / name).unlink()


def of_bytes(name: str, text: bytes) -> Callable[[Path], None]:
    return lambda base: (base / name).write_bytes(text) and None


def with_too_many_tokens(base: Path) -> None:
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {f"extra{n}": 263 + n for n in range(200)}
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))


def without_sentinels(base: Path) -> None:
    text = (base / "tokenizer.json").read_text()
    (base / "tokenizer.json").write_text(text.replace("<fim_", "<other_"))


def emptied(base: Path) -> None:
    shutil.rmtree(base)
    base.mkdir()


def of_words(base: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(base / "tokenizer.json"))


BASES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "no weights": (without("model.safetensors"), "no weights (no model.safetensors", "write model.path=FOLDER of a complete base model"),
    "no configuration": (without("config.json"), "no config.json", "write model.path=FOLDER of a complete base model"),
    "no tokenizer": (without("tokenizer.json"), "no tokenizer.json", "write model.path=FOLDER of a complete base model"),
    "a torn tokenizer": (of_bytes("tokenizer.json", b'{"model":'), "tokenizer.json:1: no valid JSON", "copy the file again"),
    "a tokenizer of a larger model": (with_too_many_tokens, "tokenizer.json has ids up to", "copy the model's own tokenizer.json here"),
    "a tokenizer without sentinels": (without_sentinels, "fill-in-the-middle tokens", "write model.add_fim_tokens=true"),
    "a tokenizer of words": (of_words, "byte-level BPE", "write model.path"),
    "a folder": (emptied, "no config.json", "write model.path=FOLDER"),
}


@pytest.mark.parametrize("name", BASES)
def test_a_base_that_can_not_be_used_is_one_message(name: str, tmp_path: Path, recipe: str, capsys) -> None:
    spoil, found, cure = BASES[name]
    spoil(tmp_path / "base")
    for verb in ("check", "build", "train"):
        message = refused(capsys, tmp_path, verb, recipe)
        assert str(tmp_path / "base") in message and found in message and cure in message
        assert message.count("\n") == 1


@pytest.mark.parametrize("share", ["0", "0.0001"])
def test_a_held_out_side_without_files_is_refused_when_it_is_made(share: str, make_repository, tmp_path: Path, recipe: str, capsys) -> None:
    repository = make_repository([("Add", MODULES)])
    message = refused(capsys, tmp_path, "build", recipe, f"data.repositories=[{repository}]", f"data.valid_share={share}")
    assert "data.valid_share" in message and "; write data.valid_share=0." in message


def test_a_held_out_side_without_files_is_refused_when_it_is_measured(small_run: Run, tmp_path: Path, capsys) -> None:
    (small_run.data / "heldout.jsonl").write_text("")
    for verb in ("evaluate", "compare"):
        message = refused(capsys, tmp_path, verb, str(small_run.folder))
        assert message.startswith(f"{small_run.data / 'heldout.jsonl'}: no file was held out")
        assert "write a larger data.valid_share, for example 0.2" in message


def test_a_training_that_was_killed_is_named_and_goes_on(small_run: Run, tmp_path: Path, capsys) -> None:
    """SIGKILL after the first checkpoint; the next step says what to type, and what it says to type goes on from there."""
    words = [
        "train",
        str(small_run.folder),
        "train.max_steps=6",
        "train.save_every=1",
        "train.batch_size=1",
        "train.accumulation=1",
        "train.epochs=9",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-m", "finetune", *words], env=environment, stderr=subprocess.DEVNULL) as process:
        while not [*small_run.checkpoints.glob("checkpoint-*")]:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
            assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    kept = max(int(path.name.rpartition("-")[2]) for path in small_run.checkpoints.glob("checkpoint-*"))
    message = refused(capsys, tmp_path, "evaluate", str(small_run.folder))
    assert f"type: finetune train {small_run.folder}" in message
    assert main(["train", str(small_run.folder)]) == 0
    lines = [json.loads(line) for line in (small_run.adapter / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["loss"] is not None] == [1, 2, 3, 4, 5, 6]
    assert 1 <= kept <= 6 and not small_run.checkpoints.exists()


def test_a_build_that_was_killed_is_named_and_made_anew(make_repository, tmp_path: Path, recipe: str, capsys) -> None:
    """What a kill at a bad moment leaves: a folder half filled, and the file of a lock that nobody holds."""
    repository = make_repository([("Add", MODULES)])
    half = tmp_path / "runs" / "mine" / ".partial-data" / "train"
    half.mkdir(parents=True)
    (half / "data-00000-of-00001.arrow").write_bytes(b"torn")
    message = refused(capsys, tmp_path, "train", recipe, f"data.repositories=[{repository}]")
    assert "type: finetune build" in message
    (tmp_path / "runs" / "mine" / ".lock").write_text('{"pid": 1, "host": "x", "doing": "build", "since": "2026"}')
    assert main(["build", recipe, f"data.repositories=[{repository}]", "data.valid_share=0.3"]) == 0
    assert {path.name for path in (tmp_path / "runs" / "mine").iterdir()} == {"recipe.yaml", "manifest.json", "data"}
