"""Which engine serves: what is said where none is installed, and the command that starts vLLM.

vLLM itself is not here. A program of that name writes down how it was called; what vLLM makes of these words is not tested.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.__main__ import main
from finetune.errors import ExportError
from finetune.export import export
from finetune.exporters import MergeReport
from finetune.run import Run
from finetune.serve import _on_stop

Exported = tuple[Run, MergeReport]
KEY = "a key nobody may see"
STAND_IN = """#!{python}
import json, os, pathlib, sys
seen = {{"words": sys.argv[1:], "key": os.environ.get("VLLM_API_KEY"), "offline": os.environ.get("HF_HUB_OFFLINE")}}
pathlib.Path({out!r}).write_text(json.dumps(seen))
sys.exit({code})
"""

WAITING = """#!{python}
import os, pathlib, signal
try:
    print("alive", os.getpid(), flush=True)
    signal.pause()
except KeyboardInterrupt:
    pathlib.Path({told!r}).write_text("stopped in order")
"""

# `finetune` with a signal to itself as soon as it has started another program.
STOPPED_AT_ONCE = """
import os, signal, subprocess, sys
from finetune.__main__ import main

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        print("started", self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

subprocess.Popen = Popen
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither vLLM nor llama.cpp's wheels can be found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for module in ("xllamacpp", "conversion"):
        monkeypatch.setitem(sys.modules, module, None)


def vllm(folder: Path, code: int = 0) -> Path:
    """A program called vllm in `folder`, which ends with this code; gives the file it writes."""
    folder.mkdir(exist_ok=True)
    program, out = folder / "vllm", folder / "called.json"
    program.write_text(STAND_IN.format(python=sys.executable, out=str(out), code=code))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return out


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["serve", *words]) == 2
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return shown.err


def test_without_an_engine_the_message_says_what_to_type(plain: Exported, no_engine: None, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, str(plain[0].folder), "--port", "0")
    assert "no engine is installed; type: pip install 'octotune[deploy]' for llama.cpp, or pip install vllm" in said
    assert "--engine vllm: vLLM is not installed; type: pip install vllm" in refused(
        capsys, str(plain[0].folder), "--port", "0", "--engine", "vllm"
    )


def test_a_gguf_file_is_not_begun_without_its_converter(plain: Exported, no_engine: None, tmp_path: Path) -> None:
    run, _ = plain
    before = sorted(run.export.iterdir())
    with pytest.raises(ExportError, match=r"llama.cpp's converter is not installed; type: pip install 'octotune\[deploy\]'"):
        export(run.recipe.model_validate(run.recipe.model_dump(mode="json") | {"export": "gguf"}))
    assert sorted(run.export.iterdir()) == before


def test_vllm_is_told_the_folder_the_context_and_the_address_and_the_key_out_of_sight(
    plain: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = plain
    out, port = vllm(tmp_path / "bin"), free_port()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert main(["serve", str(run.folder), "--port", str(port), "--api-key", KEY, "--vllm=--seed 1"]) == 0
    called = json.loads(out.read_text())
    folder = str(run.export / "merged")
    assert called["words"] == [
        *("serve", folder, "--served-model-name", "tried", "--max-model-len", "512"),
        *("--host", "127.0.0.1", "--port", str(port), "--seed", "1"),
    ]
    assert called["key"] == KEY and called["offline"] == "1"
    shown = capsys.readouterr().out
    assert f"by vLLM at http://127.0.0.1:{port}" in shown and "context 512 tokens" in shown
    assert "llama.vim" not in shown, "vLLM has no /infill"
    assert "--- continue.yaml" in shown and 'kind = "vllm/completion"' in shown


def test_vllm_serves_an_adapter_beside_its_base_and_no_other_with_room_for_its_rank(
    trained_run: Callable[..., Run], tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the number format it was trained and checked in: its base's files are float32 here, and so is what was merged."""
    folder, forms = tmp_path / "base", ["adapter", {"kind": "merged", "dtype": "float32"}]
    shutil.copytree(tiny_base, folder)
    run = trained_run(tmp_path / "runs", model={"path": str(folder), "dtype": "bfloat16"}, export=forms, adapter={"kind": "lora", "r": 20})
    export(run.recipe)
    out = vllm(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    port = str(free_port())
    address = ["--host", "127.0.0.1", "--port", port]
    assert main(["serve", str(run.folder), "--export", "merged", "--port", port]) == 0
    merged = ["--served-model-name", "tried", "--max-model-len", "512", "--dtype", "float32"]
    assert json.loads(out.read_text())["words"] == ["serve", str(run.export / "merged"), *merged, *address]
    assert main(["serve", str(run.folder), "--export", "adapter", "--port", port]) == 0
    words = json.loads(out.read_text())["words"]
    base = ["--served-model-name", "base", "--max-model-len", "512", "--dtype", "bfloat16", "--enable-lora"]
    assert words[: 2 + len(base)] == ["serve", run.recipe.model.path, *base] and words[-4:] == address
    for form, dtype in (("merged", "float32"), ("adapter", "bfloat16")):
        assert f"--dtype {dtype}" in (run.export / form / "editors" / "vllm.sh").read_text()
    lora = words[words.index("--enable-lora") :][:5]
    assert lora == ["--enable-lora", "--max-lora-rank", "32", "--lora-modules", f"tried={run.export / 'adapter'}"]
    ends = Path(words[words.index("--generation-config") + 1]) / "generation_config.json"
    assert json.loads(ends.read_text())["eos_token_id"] == [0, 6], "the base's own does not name <file_sep>"
    assert "the base  model base" in capsys.readouterr().out
    out.unlink()
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    said = refused(capsys, str(run.folder), "--export", "adapter", "--port", port)
    assert "the adapter was trained on" in said and "train again" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("kind", "said"), [("ia3", "export=gguf\n"), pytest.param("adapter_h", "no engine takes a adapter_h adapter", marks=pytest.mark.slow)]
)
def test_an_adapter_that_vllm_does_not_take_is_not_given_to_it(
    kind: str,
    said: str,
    trained_run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = trained_run(tmp_path / "runs", export="adapter", adapter={"kind": kind})
    export(run.recipe)
    assert not (run.export / "adapter" / "editors" / "vllm.sh").exists()
    out = vllm(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert said in refused(capsys, str(run.folder), "--port", str(free_port()))
    assert not out.exists()


def test_words_for_vllm_are_refused_where_it_does_not_serve(
    deployed_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where vLLM is there and has no export to serve."""
    vllm(tmp_path / "bin")
    for path in (os.environ["PATH"], str(tmp_path / "bin")):
        monkeypatch.setenv("PATH", path)
        said = refused(capsys, str(deployed_run.folder), "--port", "0", "--vllm=--seed 1")
        assert "--vllm: llama.cpp serves this export; leave it out or write --engine vllm" in said


def test_a_vllm_that_fails_is_said_to_have_failed(
    plain: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vllm(tmp_path / "bin", code=3)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "--vllm: found 'a \"b' (No closing quotation)" in refused(capsys, str(plain[0].folder), "--vllm", 'a "b')
    assert "vLLM ended with exit code 3; what it said stands above" in refused(capsys, str(plain[0].folder), "--port", str(free_port()))


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A program called vllm that says its number and waits to be stopped; gives the file it then writes."""
    program, told = tmp_path / "vllm", tmp_path / "told"
    program.write_text(WAITING.format(python=sys.executable, told=str(told)))
    program.chmod(0o755)
    return told


def served_by_vllm(run: Run, folder: Path, *python: str) -> subprocess.Popen[str]:
    words = [sys.executable, *python, "serve", str(run.folder), "--engine", "vllm", "--port", str(free_port())]
    # Under nohup the one, in a job in the background the other would be ignored, and stay so in what is started.
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGHUP, signal.SIGQUIT)}
    try:
        return subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PATH": str(folder)}, text=True)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def number_in(server: subprocess.Popen[str], word: str) -> int:
    """The number behind this word, which a line of what the server says begins with."""
    assert server.stdout is not None
    said: list[str] = []
    for line in server.stdout:
        said.append(line)
        if line.startswith(f"{word} "):
            return int(line.split()[1])
    pytest.fail(f"serve ended with {server.wait()}: {said}")


def ends_in_order(server: subprocess.Popen[str], engine: int) -> bool:
    """Whether serve ends by itself, with this engine no longer there."""
    try:
        said, _ = server.communicate(timeout=30)
        with pytest.raises(ProcessLookupError):
            os.kill(engine, 0)
    except BaseException:
        os.kill(engine, signal.SIGKILL)
        raise
    return server.returncode == 0 and said.endswith("stopped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_who_stops_serve_stops_vllm(plain: Exported, waiting: Path, number: signal.Signals) -> None:
    """Also by a signal to this process alone, as service managers send it, and when the terminal is closed."""
    with served_by_vllm(plain[0], waiting.parent, "-m", "finetune") as server:
        engine = number_in(server, "alive")
        server.send_signal(number)
        assert ends_in_order(server, engine)
    assert waiting.read_text() == "stopped in order"


def test_vllm_does_not_outlive_a_serve_that_is_stopped_while_it_starts_it(plain: Exported, waiting: Path) -> None:
    with served_by_vllm(plain[0], waiting.parent, "-c", STOPPED_AT_ONCE) as server:
        assert ends_in_order(server, number_in(server, "started"))


def test_a_hangup_that_is_ignored_stays_so() -> None:
    """nohup finetune serve"""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _on_stop(lambda: None):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
