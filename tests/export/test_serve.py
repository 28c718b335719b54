"""A served export asked by real clients and by the payloads of editors: the prompts of training, the answers of transformers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from exported import parts_at_a_tie

from finetune.__main__ import main
from finetune.base import read_base
from finetune.data.render import Encoder, encode_prompt
from finetune.deploy.llama import Address
from finetune.deploy.settings import Served, editor_settings, stop_words, template
from finetune.errors import FinetuneError
from finetune.generate import heldout_files, heldout_holes, open_completer, prompt_limit
from finetune.records import FimPrompt, Sampling
from finetune.run import Run
from finetune.serve import Options, serving
from finetune.serve.exports import exports_of
from finetune.tasks import Hole

pytest.importorskip("xllamacpp")
KEY = "a key"
HOLES = 20


class Client:
    """Asks a server as an editor does: JSON by POST, the key in a header."""

    def __init__(self, url: str, encoder: Encoder) -> None:
        self.url, self.encoder = url, encoder

    def ask(self, path: str, key: str = KEY, **body: Any) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def prepare(self, prompt: FimPrompt) -> int:
        """Lets the server read the ids of training; what it then takes from its cache is what is equal to them."""
        return self.read(encode_prompt(prompt, self.encoder))

    def read(self, ids: list[int]) -> int:
        """Lets the server read these ids; gives their number."""
        self.ask("/completion", prompt=ids, n_predict=1, temperature=0, cache_prompt=True)
        return len(ids)


@pytest.fixture(scope="module")
def client(deployed_run: Run) -> Iterator[Client]:
    base = read_base(deployed_run.recipe.model)
    (exported,) = exports_of(deployed_run)
    with serving(deployed_run, exported, Options(Address(key=KEY))) as text:
        url = re.search(r"http://127\.0\.0\.1:\d+", text)
        assert url is not None
        yield Client(url[0], Encoder(base.tokenizer, base.family))


@pytest.fixture(scope="module")
def holes(deployed_run: Run, client: Client) -> list[Hole]:
    base = read_base(deployed_run.recipe.model)
    drawn = heldout_holes(heldout_files(deployed_run), deployed_run, client.encoder, limit=prompt_limit(deployed_run, base))
    found = [hole for kind in drawn.values() for hole in kind][:HOLES]
    assert len(found) == HOLES
    return found


def test_the_tuned_answers_to_held_out_holes_are_those_of_transformers(client: Client, deployed_run: Run, holes: list[Hole]) -> None:
    completer = open_completer([deployed_run])
    sampling = Sampling(max_new_tokens=24, others=2)
    answers = completer.complete([FimPrompt(hole.prefix, hole.suffix) for hole in holes], sampling)
    for scale, arm in ((1.0, 1), (0.0, 0)):
        served = [
            client.ask(
                "/infill",
                input_prefix=hole.prefix,
                input_suffix=hole.suffix,
                n_predict=24,
                temperature=0,
                lora=[{"id": 0, "scale": scale}],
            )
            for hole in holes
        ]
        ours = [answer[arm] for answer in answers]
        others = [(one["content"], answer) for one, answer in zip(served, ours, strict=True) if one["content"] != answer.text]
        assert len(others) <= 1 and all(parts_at_a_tie(text, answer) for text, answer in others), others
    assert any(base.text != tuned.text for base, tuned in answers)


PROMPT = FimPrompt("def add(left, right):\n    # <fim_middle> stays text\n    return ", "\n\n\nprint(add(1, 23))\n")


def test_infill_reads_the_ids_of_training_even_where_the_code_spells_a_sentinel(client: Client) -> None:
    tokens = client.prepare(PROMPT)
    answer = client.ask("/infill", input_prefix=PROMPT.prefix, input_suffix=PROMPT.suffix, n_predict=1, temperature=0)
    assert answer["timings"]["cache_n"] == tokens - 1 and answer["tokens_evaluated"] == tokens


def test_llama_vims_request_gives_the_bytes_of_training_cut_at_the_line(client: Client) -> None:
    """It sends the lines above and the line itself apart, and llama.cpp cuts each by itself: the same bytes, another border of tokens."""
    lines = PROMPT.prefix.rpartition("\n")
    encoder, fim = client.encoder, client.encoder.family.fim
    assert fim is not None
    before = [encoder.token(fim.prefix), *encoder.text(lines[0] + "\n"), *encoder.text(lines[2])]
    ids = [*before, encoder.token(fim.suffix), *encoder.text(PROMPT.suffix), encoder.token(fim.middle)]
    assert encoder.decode(ids) == encoder.decode(encode_prompt(PROMPT, encoder))
    tokens = client.read(ids)
    answer = client.ask(
        "/infill",
        input_prefix=lines[0] + "\n",
        input_suffix=PROMPT.suffix,
        input_extra=[],
        prompt=lines[2],
        n_predict=8,
        n_indent=4,
        top_k=40,
        top_p=0.99,
        stream=False,
        samplers=["top_k", "top_p", "infill"],
        cache_prompt=True,
        t_max_prompt_ms=500,
        t_max_predict_ms=1500,
        response_fields=["content", "timings/prompt_n", "timings/predicted_n", "truncated", "tokens_cached"],
    )
    assert answer["truncated"] is False and isinstance(answer["content"], str)
    assert answer["timings/prompt_n"] == 1  # all but the last token were in the cache
    assert answer["tokens_cached"] == tokens - 1 + answer["timings/predicted_n"]


def test_llama_vscodes_request_is_answered_with_the_settings_for_it(client: Client) -> None:
    """Unless told it asks for three answers at once, more than the server has slots."""
    settings = json.loads(editor_settings(Served("tried", client.url, client.encoder.family, 2048))["llama.vscode.json"])
    asked: dict[str, Any] = {"input_prefix": "def add(left, right):\n", "input_suffix": "\n", "input_extra": [], "prompt": "    return "}
    asked |= {"id_slot": 0, "n_predict": 8, "n_indent": 4, "top_k": 40, "top_p": 0.99, "stream": False, "cache_prompt": True}
    asked |= {"samplers": ["top_k", "top_p", "infill"], "t_max_prompt_ms": 500, "t_max_predict_ms": 500, "model": "another"}
    answer = client.ask("/infill", **asked, n_cmpl=settings["llama-vscode.max_parallel_completions"])
    assert isinstance(answer["content"], str)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        client.ask("/infill", **asked, n_cmpl=3)


@pytest.mark.parametrize("editor", ["llm-ls", "Continue", "Tabby"])
def test_prompts_that_an_editor_writes_become_the_ids_of_training(client: Client, editor: str) -> None:
    family = client.encoder.family
    prompt = FimPrompt("def add(left, right):\n    return ", "\n\nprint(add(1, 23))\n")
    text = template(family, prompt.prefix, prompt.suffix)
    tokens = client.prepare(prompt)
    if editor == "Tabby":
        body = {
            "seed": 1,
            "prompt": text,
            "n_predict": 4,
            "temperature": 0.1,
            "stream": False,
            "penalty_last_n": 0,
            "presence_penalty": 0.0,
        }
        answer = client.ask("/completion", **body)
        assert answer["timings"]["cache_n"] == tokens - 1
        return
    body = {"prompt": text, "model": "tried", "max_tokens": 4, "temperature": 0.2, "stop": stop_words(family)}
    answer = client.ask("/v1/completions", **body, **({"top_p": 0.95} if editor == "llm-ls" else {"stream": False}))
    assert answer["usage"]["prompt_tokens"] == tokens
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == tokens - 1


def test_the_openai_package_gets_answers_and_the_base_beside_them(client: Client, holes: list[Hole]) -> None:
    openai = pytest.importorskip("openai")
    prompts = [template(client.encoder.family, hole.prefix, hole.suffix) for hole in holes[:6]]
    with openai.OpenAI(base_url=f"{client.url}/v1", api_key=KEY) as asked:

        def answers(scale: float) -> list[str]:
            extra = {"lora": [{"id": 0, "scale": scale}]}
            return [
                asked.completions.create(model="tried", prompt=p, max_tokens=12, temperature=0, extra_body=extra).choices[0].text
                for p in prompts
            ]

        assert answers(1.0) != answers(0.0)
        streamed = asked.completions.create(model="tried", prompt=prompts[0], max_tokens=12, temperature=0, stream=True)
        assert "".join(part.choices[0].text for part in streamed) == answers(1.0)[0]
        assert [model.id for model in asked.models.list()] == ["tried"]


def test_a_wrong_key_is_refused(client: Client) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        client.ask("/infill", key="another", input_prefix="a", input_suffix="b", n_predict=1)


def test_a_prompt_longer_than_the_context_is_one_clear_message(client: Client) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        client.ask("/v1/completions", prompt="x = 1\n" * 2048, max_tokens=4)
    assert "exceeds the available context size (2048 tokens)" in refused.value.read().decode()


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["serve", *words]) == 2
    shown = capsys.readouterr()
    assert not shown.out and "Traceback" not in shown.err
    return shown.err


def test_a_port_in_use_is_one_message(client: Client, deployed_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    port = client.url.rpartition(":")[2]
    assert f"127.0.0.1:{port} can not be listened on (Address already in use); write --port" in refused(
        capsys, str(deployed_run.folder), "--port", port
    )


def test_an_open_address_asks_for_a_key(deployed_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert "write --api-key KEY as well" in refused(capsys, str(deployed_run.folder), "--host", "0.0.0.0", "--port", "0")
    assert "write an address" in refused(capsys, str(deployed_run.folder), "--host", "my machine", "--port", "0")


def test_a_run_without_an_export_says_what_to_type(trained_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained_run(tmp_path)
    assert f"type: finetune export {run.folder} export=gguf_lora" in refused(capsys, str(run.folder), "--port", "0")
    assert "--export gguf: " in refused(capsys, str(run.folder), "--port", "0", "--export", "gguf")


def test_an_export_of_an_earlier_adapter_is_not_served(deployed_run: Run, tmp_path: Path) -> None:
    folder = deployed_run.export / "gguf-lora-f32"
    report = json.loads((folder / "merge_report.json").read_text())
    stale = deployed_run.export / "stale"
    stale.mkdir()
    try:
        (stale / "merge_report.json").write_text(json.dumps(report | {"adapter_digest": "0"}))
        assert [one.folder.name for one in exports_of(deployed_run)] == ["gguf-lora-f32"]
        (stale / "merge_report.json").write_text("{")
        assert [one.folder.name for one in exports_of(deployed_run, "gguf-lora-f32")] == ["gguf-lora-f32"]
        (stale / "merge_report.json").write_text(json.dumps(report | {"adapter_digest": "0"}))
        with pytest.raises(FinetuneError, match="trained anew since; type: finetune export"):
            exports_of(deployed_run, "stale")
    finally:
        (stale / "merge_report.json").unlink()
        stale.rmdir()


def test_the_command_serves_until_it_is_stopped(deployed_run: Run) -> None:
    words = [sys.executable, "-m", "finetune", "serve", str(deployed_run.folder), "--port", "0", "--engine", "llama"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            shown: list[str] = []
            for line in server.stdout:
                shown.append(line)
                if "--- llama.vscode.json" in line:
                    break
            url = re.search(r"http://127\.0\.0\.1:\d+", "".join(shown))
            assert url is not None, shown
            body = json.dumps({"prompt": "def f(", "max_tokens": 2}).encode()
            with urllib.request.urlopen(urllib.request.Request(f"{url[0]}/v1/completions", body)) as answer:
                found: Mapping[str, Any] = json.load(answer)
            assert found["choices"][0]["text"]
            server.send_signal(signal.SIGINT)
            rest, errors = server.communicate(timeout=60)
            assert server.returncode == 0 and "stopped" in rest and not errors
        finally:
            server.kill()
