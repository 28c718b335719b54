"""llama.vim itself, in a real neovim without a screen, with the settings that `finetune serve` prints.

Needs `nvim` (0.10 or later) and `curl` on the PATH, and the plugin's folder (ggml-org/llama.vim) in LLAMA_VIM.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from finetune.base import read_base
from finetune.data.render import Encoder
from finetune.deploy.llama import Address
from finetune.run import Run
from finetune.serve import Options, serving
from finetune.serve.exports import exports_of

PLUGIN = os.environ.get("LLAMA_VIM", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PLUGIN or not shutil.which("nvim") or not shutil.which("curl"),
        reason="needs nvim, curl and the folder of llama.vim in LLAMA_VIM",
    ),
]
KEY = "a key"
ABOVE, LINE, BELOW = [f"x{n} = {n}" for n in range(5)], "x5 = ", ["x6 = 6", "x7 = 7"]  # of what it is sure: the rest is a draw

# Waits for the ghost text, keeps it, takes it over with <Tab>, and writes what the buffer holds then.
DRIVER = """
local function finish(ghost)
  vim.fn.writefile({vim.json.encode({ghost = ghost, lines = vim.api.nvim_buf_get_lines(0, 0, -1, true)})}, vim.env.SAID)
  vim.cmd('qall!')
end
local function ghost()
  for _, space in pairs(vim.api.nvim_get_namespaces()) do
    for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, space, 0, -1, {details = true})) do
      local text = mark[4].virt_text and mark[4].virt_text[1][1] or ''
      if text ~= '' then return mark[4] end
    end
  end
end
local function keys(text) vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(text, true, false, true), 'mt', false) end
vim.api.nvim_win_set_cursor(0, {tonumber(vim.env.AT), 0})
keys('A')
local tries, shown = 0, nil
vim.uv.new_timer():start(500, 200, vim.schedule_wrap(function()
  tries = tries + 1
  if shown then finish(shown) end
  local found = ghost()
  if found then shown = {text = found.virt_text, more = found.virt_lines}; keys('<Tab>') end
  if tries > 100 then finish(nil) end
end))
"""


class Between(ThreadingHTTPServer):
    """Stands between the editor and the engine, and keeps what went by."""

    daemon_threads = True

    def __init__(self, engine: str) -> None:
        self.engine, self.seen = engine, []
        super().__init__(("127.0.0.1", 0), Passing)

    seen: list[tuple[dict[str, Any], dict[str, Any]]]


class Passing(BaseHTTPRequestHandler):
    server: Between

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        with urllib.request.urlopen(urllib.request.Request(self.server.engine + self.path, asked, dict(self.headers))) as answer:
            said = answer.read()
        self.server.seen.append((json.loads(asked), json.loads(said)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def served(deployed_run: Run) -> Iterator[tuple[Between, str]]:
    """What stands before the engine, and the settings for the editor."""
    (exported,) = exports_of(deployed_run)
    with serving(deployed_run, exported, Options(Address(key=KEY))) as text:
        engine = re.search(r"http://127\.0\.0\.1:\d+", text)
        assert engine is not None
        with Between(engine[0]) as between:
            threading.Thread(target=between.serve_forever).start()
            settings = re.search(r"^--- llama\.vim\n(.*?)\n(?=\n---|\Z)", text, re.MULTILINE | re.DOTALL)
            assert settings is not None
            yield between, settings[1].replace(engine[0], f"http://127.0.0.1:{between.server_port}")
            between.shutdown()


def test_llama_vim_shows_what_the_tuned_model_says_and_tab_takes_it(served: tuple[Between, str], deployed_run: Run, tmp_path: Path) -> None:
    between, settings = served
    base = read_base(deployed_run.recipe.model)
    encoder, fim = Encoder(base.tokenizer, base.family), base.family.fim
    assert fim is not None
    above, below = "\n".join(ABOVE) + "\n", "\n" + "\n".join(BELOW) + "\n"
    ids = [encoder.token(fim.prefix), *encoder.text(above), *encoder.text(LINE), encoder.token(fim.suffix), *encoder.text(below)]
    ids.append(encoder.token(fim.middle))
    read = json.dumps({"prompt": ids, "n_predict": 1, "temperature": 0, "cache_prompt": True}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    urllib.request.urlopen(urllib.request.Request(f"{between.engine}/completion", read, headers)).close()

    source, said, init = tmp_path / "add.py", tmp_path / "said.json", tmp_path / "init.vim"
    source.write_text(above + LINE + below)
    (tmp_path / "driver.lua").write_text(DRIVER)
    init.write_text(f"set runtimepath^={PLUGIN} noswapfile\n{settings}\n")
    words = ["nvim", "--headless", "-u", str(init), str(source), "-c", f"luafile {tmp_path / 'driver.lua'}"]
    where = {"SAID": str(said), "AT": str(len(ABOVE) + 1), "HOME": str(tmp_path)}
    done = subprocess.run(words, env={**os.environ, **where}, capture_output=True, text=True, timeout=60, check=False)
    assert said.is_file(), done.stderr

    asked, answer = between.seen[0]
    assert asked["input_prefix"] == above and asked["prompt"] == LINE and asked["input_extra"] == []
    assert asked["input_suffix"] == below
    assert answer["timings/prompt_n"] == 1, "all but the last token of the prompt are those of training, which the engine had read"
    found = json.loads(said.read_text())
    shown = [found["ghost"]["text"][0][0], *(line[0][0] for line in found["ghost"].get("more") or [])]
    assert shown[0].strip() and answer["content"].startswith(shown[0].rstrip())
    assert found["lines"] == [*ABOVE, LINE + shown[0], *shown[1:], *BELOW]
