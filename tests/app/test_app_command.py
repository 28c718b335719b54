"""python -m app: what is refused, and what is open to whom."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fake_completer import FakeCompleter

from app.__main__ import free_port, main
from finetune.errors import FinetuneError
from finetune.recipe import parse_recipe
from finetune.run import Run, open_run

if TYPE_CHECKING:
    from conftest import Serve

# gradio leaves event loops and sockets to the collector; the fixture `serve` collects what is left after a test.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


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


@pytest.mark.parametrize("auth", ["name", "name:", ":password"])
def test_a_login_needs_a_user_and_a_password(run: Run, capsys: pytest.CaptureFixture[str], auth: str) -> None:
    assert "write --auth USER:PASSWORD" in refusal(capsys, str(run.folder), "--auth", auth)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_nobody_reads_the_page_without_the_login(serve: Serve, completer: FakeCompleter) -> None:
    url = serve(completer, auth=("reader", "secret"))
    assert status(url + "config") == 401
    assert status(url + "gradio_api/info") == 401


def test_files_of_the_machine_are_not_served(serve: Serve, completer: FakeCompleter, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    url = serve(completer)
    assert status(url + "config") == 200
    assert status(f"{url}gradio_api/file={secret}") == 403
    assert status(f"{url}gradio_api/file={Path(__file__)}") == 403


def test_the_page_is_on_this_machine_alone(serve: Serve, completer: FakeCompleter) -> None:
    assert serve(completer).startswith("http://127.0.0.1:")


def test_gradio_reports_nothing() -> None:
    from gradio.analytics import analytics_enabled

    assert not analytics_enabled()
