"""vLLM itself, started by `finetune serve` on an export as it lies there: the prompt ids of training, the answers of transformers.

Needs `vllm` on the PATH; it may live in an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import parts_at_a_tie
from test_engines import free_port
from transformers import Qwen2Config, Qwen2ForCausalLM, Starcoder2Config, Starcoder2ForCausalLM

from finetune.base import read_base
from finetune.data.render import Encoder, encode_prompt
from finetune.data.store import write_heldout
from finetune.deploy.settings import template
from finetune.export import export
from finetune.generate import heldout_files, heldout_holes, open_completer, prompt_limit
from finetune.records import FimPrompt, Origin, Sampling, SourceFile
from finetune.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("vllm") is None, reason="needs vllm on the PATH")]
SOURCES = Path(__file__).parents[2] / "finetune"
HOLES, TOKENS, START_S = 20, 24, 300
UNFINISHED = "\ufffd"  # half a character at the end, which our answers leave out
# Heads of 64: vLLM's attention on a CPU takes multiples of 32.
SHAPE = {
    "vocab_size": 320,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "tie_word_embeddings": True,
    "initializer_range": 0.05,
}
OF_STARCODER2 = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<repo_name>", "<file_sep>"]
OF_QWEN = [
    "<|endoftext|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
]


def starcoder2(folder: Path) -> None:
    """With a window of attention that prompts are longer than."""
    rope = {"rope_type": "default", "rope_theta": 999999.4}
    Starcoder2ForCausalLM(Starcoder2Config(**SHAPE, sliding_window=128, rope_parameters=rope)).save_pretrained(folder)


def qwen2(folder: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 1000000.0}
    Qwen2ForCausalLM(Qwen2Config(**SHAPE, use_sliding_window=False, rope_parameters=rope)).save_pretrained(folder)
    (folder / "LICENSE").write_text("Apache License 2.0\n")


@pytest.fixture(scope="module", params=[None, (starcoder2, OF_STARCODER2), (qwen2, OF_QWEN)], ids=["demo", "starcoder2", "qwen2"])
def run(
    request: pytest.FixtureRequest,
    trained_run: Callable[..., Run],
    byte_tokenizer: Callable[[Sequence[str]], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """A run on each base, exported merged and as an adapter."""
    path = "demo"
    if request.param is not None:
        make, specials = request.param
        torch.manual_seed(0)
        make(folder := byte_tokenizer(specials))
        path = str(folder)
    found = trained_run(
        tmp_path_factory.mktemp("runs"),
        model={"path": path},
        data={"row_length": 320},
        evaluate={"holes": ["line", "span"], "items": 12, "max_new_tokens": TOKENS},
        export=[{"kind": "merged", "dtype": "float32"}, "adapter"],
    )
    names = ("hashing.py", "files.py", "registry.py", "errors.py", "progress.py", "quiet.py")
    files = [SourceFile(Origin("ours", "0" * 40, name), "Python", (SOURCES / name).read_text()) for name in names]
    write_heldout(files, found.data / "heldout.jsonl")
    export(found.recipe)
    return found


@contextmanager
def serving(run: Run, form: str) -> Iterator[str]:
    """The address of a server that `finetune serve` started and that answers."""
    port = free_port()
    words = [sys.executable, "-m", "finetune", "serve", str(run.folder), "--engine", "vllm", "--export", form, "--port", str(port)]
    words += ["--vllm=--gpu-memory-utilization 0.05"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "VLLM_LOGGING_LEVEL": "ERROR"}) as server:
        try:
            _wait(f"http://127.0.0.1:{port}", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health").close()
            return
        except urllib.error.URLError:
            time.sleep(1)  # another program's start: there is nothing to wait on
    pytest.fail(f"no answer from vLLM; it ended with {server.poll()}")


def ask(url: str, **body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.mark.parametrize(("form", "names"), [("merged", {"tuned": "tried"}), ("adapter", {"tuned": "tried", "base": "base"})])
def test_vllm_reads_the_ids_of_training_and_gives_the_answers_of_transformers(run: Run, form: str, names: dict[str, str]) -> None:
    base = read_base(run.recipe.model)
    encoder = Encoder(base.tokenizer, base.family)
    drawn = heldout_holes(heldout_files(run), run, encoder, limit=prompt_limit(run, base))
    prompts = [FimPrompt(hole.prefix, hole.suffix) for kind in drawn.values() for hole in kind][:HOLES]
    assert len(prompts) == HOLES
    answers = open_completer([run]).complete(prompts, Sampling(max_new_tokens=TOKENS, others=2))
    texts = [template(base.family, prompt.prefix, prompt.suffix) for prompt in prompts]
    with serving(run, form) as url:
        for text, prompt in zip(texts, prompts, strict=True):
            assert ask(f"{url}/tokenize", model="tried", prompt=text)["tokens"] == encode_prompt(prompt, encoder)
        for arm, model in names.items():
            more = {"model": model, "max_tokens": TOKENS, "temperature": 0, "skip_special_tokens": False}
            said = [ask(f"{url}/v1/completions", prompt=text, **more)["choices"][0]["text"].rstrip(UNFINISHED) for text in texts]
            ours = [answer[arm == "tuned"] for answer in answers]
            apart = [(text, answer) for text, answer in zip(said, ours, strict=True) if text != answer.text]
            assert len(apart) <= 2 and all(parts_at_a_tie(text, answer) for text, answer in apart), apart
            for stop in encoder.stop_ids:  # said at once, and once: nothing is asked for to stop at
                (end,) = ask(f"{url}/v1/completions", prompt=texts[0], logit_bias={str(stop): 100}, **more)["choices"]
                assert end["finish_reason"] == "stop", f"goes on after {encoder.decode([stop])}"
