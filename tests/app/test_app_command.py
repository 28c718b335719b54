"""python -m app: what is refused, and what is open to whom."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_marks import LEFT_OPEN
from fake_completer import FakeCompleter

from app.__main__ import free_port, main
from finetune.errors import FinetuneError
from finetune.recipe import parse_recipe
from finetune.run import Run, open_run

if TYPE_CHECKING:
    from conftest import Serve

ROOT = Path(__file__).parents[2]

pytestmark = LEFT_OPEN


@pytest.fixture
def run(tmp_path: Path, tiny_base: Path) -> Run:
    return open_run(parse_recipe("", [f"runs={tmp_path}", f"model.path={tiny_base}"], name="tried"))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one message with which the command leaves."""
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err and output.err.count("python -m app: ") == 1
    return output.err


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run lies here" in refusal(capsys, str(tmp_path / "nowhere"))


def test_a_run_without_an_adapter_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, str(run.folder))
    assert f"type: finetune train {run.folder}" in message


def test_a_taken_port_is_refused_before_the_model_is_loaded(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for step, result in (("build", run.data), ("train", run.adapter)):
        with run.step(step):
            result.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refusal(capsys, str(run.folder), "--port", str(port))
    assert f"--port {port}" in message and "in use" in message and "write another --port" in message


def trained(tmp_path: Path, base_path: Path) -> Run:
    """A run whose adapter is fresh, with a file held out."""
    from finetune.base import read_base
    from finetune.data.store import write_heldout
    from finetune.methods import save_adapter
    from finetune.model import load_model
    from finetune.records import Origin, SourceFile

    run = open_run(parse_recipe("", [f"runs={tmp_path}", f"model.path={base_path}", "data.row_length=256"], name="changed"))
    base = read_base(run.recipe.model)
    text = "".join(f"def a{n}():\n x = {n}\n y = x\n z = y\n return z\n\n" for n in range(9))
    with run.step("build") as notes:
        notes["inputs"] = {"base": base.digest}
        write_heldout([SourceFile(Origin("shop", "c", "a.py"), "Python", text)], run.data / "heldout.jsonl")
    with run.step("train") as notes:
        notes["inputs"] = {"base": base.digest}
        run.adapter.mkdir()
        save_adapter(run.recipe.adapter(load_model(base, run.recipe.model), base.family), run.adapter, base)
    return run


def test_an_adapter_of_another_base_is_refused(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The base was changed after the training: its folder is the same, its files are not. No page is opened for it."""
    other = tmp_path / "base"
    shutil.copytree(tiny_base, other)
    changed = trained(tmp_path, other)
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace("100000.0", "10000.0"))
    message = refusal(capsys, str(changed.folder))
    assert "the adapter was trained on" in message and "train again" in message


def test_a_moved_base_is_asked_for_and_told(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The new place is looked at before the port, which is the next thing that is wrong."""
    old, new = tmp_path / "base", tmp_path / "else where"
    shutil.copytree(tiny_base, old)
    run = trained(tmp_path, old)
    old.rename(new)
    message = refusal(capsys, str(run.folder))
    assert f"{run.folder}: found no base at {old}; add --base FOLDER" in message
    assert "no port has this number" in refusal(capsys, str(run.folder), "--base", str(new), "--port", "70000")
    (new / "config.json").write_text((new / "config.json").read_text().replace("100000.0", "10000.0"))
    message = refusal(capsys, str(run.folder), "--base", str(new))
    assert f"made with other files than lie in --base {new}; write --base FOLDER of that very base" in message
    for wrong, found in ((old, f"--base {old}: neither a folder nor"), (tmp_path, f"{tmp_path}: no config.json")):
        message = refusal(capsys, str(run.folder), "--base", str(wrong))
        assert found in message and "write --base FOLDER" in message and "model.path" not in message and "finetune train" not in message


def test_weights_that_can_not_be_loaded_end_the_page(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page is there before the model, but not without it."""
    from finetune.methods import seal_adapter

    run = trained(tmp_path, tiny_base)
    weights = run.adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    seal_adapter(run.adapter)
    port = free_port("127.0.0.1", None)
    assert main([str(run.folder), "--port", str(port)]) == 2
    output = capsys.readouterr()
    assert "the playground is at" in output.out and "is loaded" not in output.out
    assert output.err.count("python -m app: ") == 1 and f"{weights}: the file is damaged" in output.err
    assert free_port("127.0.0.1", port) == port


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_number_that_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(FinetuneError, match="write another --port"):
        free_port("127.0.0.1", int(port))


def test_a_taken_port_is_passed_over_when_none_was_asked_for() -> None:
    first = free_port("127.0.0.1", None)
    with socket.create_server(("127.0.0.1", first)):
        assert free_port("127.0.0.1", None) > first


def test_the_network_gets_in_only_with_a_login(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, str(run.folder), "--host", "0.0.0.0")
    assert "add --auth USER:PASSWORD" in message


def test_the_command_says_who_can_open_the_page() -> None:
    from app.__main__ import reach

    assert "nobody else" in reach("127.0.0.1", None)
    assert "not encrypted" in reach("0.0.0.0", ("name", "password"))


@pytest.mark.parametrize("auth", ["name", "name:", ":password"])
def test_a_login_needs_a_user_and_a_password(run: Run, capsys: pytest.CaptureFixture[str], auth: str) -> None:
    assert "write --auth USER:PASSWORD" in refusal(capsys, str(run.folder), "--auth", auth)


def status(url: str, posted: bytes | None = None) -> int:
    try:
        with urllib.request.urlopen(url, posted, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_nobody_reads_the_page_without_the_login(serve: Serve, completer: FakeCompleter) -> None:
    url = serve(completer, auth=("reader", "secret"))
    for asked in ("config", "info", "queue/data?session_hash=a", "queue/status", f"file={__file__}"):
        assert status(url + ("" if asked == "config" else "gradio_api/") + asked) == 401, asked
    for posted in ("queue/join", "call/work", "run/work", "upload"):
        assert status(url + f"gradio_api/{posted}", b"{}") == 401, posted


def test_files_of_the_machine_are_not_served(serve: Serve, completer: FakeCompleter, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    url = serve(completer)
    assert status(url + "config") == 200
    assert status(f"{url}gradio_api/file={secret}") == 403
    assert status(f"{url}gradio_api/file={Path(__file__)}") == 403


def test_gradio_keeps_no_history_of_its_own(serve: Serve, completer: FakeCompleter) -> None:
    """It has a page of what was asked, and sends it to a bucket of the hub for who names one: also for who has no login here."""
    url = serve(completer)
    assert status(url + "gradio_api/runs") == 404
    assert status(url + "gradio_api/run-history/buckets") == 404


def test_the_page_is_on_this_machine_alone(serve: Serve, completer: FakeCompleter) -> None:
    assert serve(completer).startswith("http://127.0.0.1:")


def test_gradio_is_imported_without_a_look_at_its_stubs() -> None:
    """It would write them into the folder of the environment, and read them at each start."""
    code = """
import inspect, sys
own, opened = inspect.getfile, []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" and str(args[0]).endswith(".pyi") else None)
from app.gradio_import import import_gradio
import_gradio()
import gradio
print(opened, inspect.getfile is own, inspect.getfile(gradio.Textbox).endswith("textbox.py"))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[] True True\n", "")


def test_gradio_reports_nothing() -> None:
    from gradio.analytics import analytics_enabled

    assert not analytics_enabled()
