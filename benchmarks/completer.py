"""Base and one adapter in one batch against one after the other, and the playground's own share of the wait.

    OMP_NUM_THREADS=1 python benchmarks/completer.py            answers alone
    OMP_NUM_THREADS=1 python benchmarks/completer.py --page     and the page: its start, and its time to the first token, in chromium

Rounds of the same prompts in turn, so that what else the machine does falls on all. The peers: the same completer, one arm at a time,
and `generate` of transformers on the base and on the base with its adapter switched on. Tokens per second, wall and CPU; prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune.base import read_base
from finetune.data.render import Encoder, encode_prompt
from finetune.data.store import write_heldout
from finetune.generate import BatchCompleter, open_completer
from finetune.recipe import parse_recipe
from finetune.records import FimPrompt, Origin, Sampling, SourceFile
from finetune.run import Run, open_run

ROOT = Path(__file__).parent.parent
ROUNDS = 5
GREEDY = Sampling()  # as long as the page asks for, unless told
NO_TOKEN = 1_000_000  # beyond the vocabulary
# The page is at rest, else the click is passed over. The caret stands there while an answer is written: text of the question before,
# which gradio leaves under its own sign of waiting, has none.
FIRST_JS = """async () => {
  const answers = document.querySelector('#answers'), caret = () => answers.querySelector('.caret');
  await new Promise(rest => {
    let timer = setTimeout(rest, 500);
    new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(rest, 500); }).observe(answers, {childList: true, subtree: true});
  });
  const started = performance.now();
  let begun = false;
  const first = new Promise(done => new MutationObserver((_, observer) => {
    begun ||= !!caret();
    if (!begun || ![...answers.querySelectorAll('.said')].some(said => said.textContent)) return;
    observer.disconnect();
    done(performance.now() - started);
  }).observe(answers, {childList: true, subtree: true, characterData: true}));
  document.querySelector('#ask-hole').click();
  return first;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--page", action="store_true", help="measure the page too; needs chromium")
    page = parser.parse_args().page
    with tempfile.TemporaryDirectory() as folder:
        run = demo_run(Path(folder))
        completer = open_completer([run])
        figures = {
            "threads": os.environ.get("OMP_NUM_THREADS", "as torch finds them"),
            "answers of full length": answers(endless(completer, run)),
            "answers as they end": answers(completer),
        }
        if page:
            figures["page"] = served(run)
    print(json.dumps(figures, indent=2))


def demo_run(folder: Path) -> Run:
    """A run on the embedded base with a LoRA of small random weights, and files of this repository held out."""
    import torch

    from finetune.methods import save_adapter
    from finetune.model import load_model

    run = open_run(parse_recipe("", [f"runs={folder}", "model.path=demo", "data.row_length=1024"], name="tuned"))
    base = read_base(run.recipe.model)
    paths = sorted((ROOT / "finetune").glob("*.py"))[:8]
    with run.step("build"):
        files = [SourceFile(Origin("octotune", "c", path.name), "Python", path.read_text()) for path in paths]
        write_heldout(files, run.data / "heldout.jsonl")
    with run.step("train"):
        torch.manual_seed(0)
        model = run.recipe.adapter(load_model(base, run.recipe.model), base.family)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.data.normal_(std=0.01)
        run.adapter.mkdir()
        save_adapter(model, run.adapter, base)
    return run


def prompts() -> list[FimPrompt]:
    texts = [path.read_text() for path in sorted((ROOT / "finetune").glob("*.py"))[:5]]
    return [FimPrompt(text[:600], text[700:900]) for text in texts if len(text) > 900]


def endless(completer: BatchCompleter, run: Run) -> BatchCompleter:
    """The same model without stop tokens: how soon an answer ends is not the completer's doing."""

    class Endless(Encoder):
        stop_ids = (NO_TOKEN,)

    base = read_base(run.recipe.model)
    encoder = Endless(base.tokenizer, base.family)
    adapters = {arm: name for arm, name in completer._adapters.items() if arm in completer.arms[1:]}
    return BatchCompleter(completer._engine.model, encoder, adapters, context_length=None)


def answers(completer: BatchCompleter) -> dict[str, Any]:
    """Tokens per second of each way, the median of the rounds, and how many times the others' the batch's are."""
    asked = prompts()

    def solo() -> int:
        return sum(tokens(completer, prompt, [arm]) for prompt in asked for arm in completer.arms)

    def batch() -> int:
        return sum(tokens(completer, prompt, completer.arms) for prompt in asked)

    ways = {"batch": batch, "one at a time": solo, "transformers generate": lambda: generated(completer, asked)}
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            found = timed(way)
            if turn:  # the first round warms up
                measured[name].append(found)
    per_second = {
        name: {"wall": statistics.median(wall for wall, _ in rounds), "cpu": statistics.median(cpu for _, cpu in rounds)}
        for name, rounds in measured.items()
    }
    faster = {name: times(measured["batch"], rounds) for name, rounds in measured.items() if name != "batch"}
    found = {"prompts": len(asked), "rounds": ROUNDS, "tokens_per_second": per_second, "batch_is_times": faster}
    return found | {"if_the_second_row_cost_nothing_but_its_prompt": limit(completer, asked)}


def limit(completer: BatchCompleter, asked: list[FimPrompt]) -> dict[str, float]:
    """How many times the speed of one at a time a batch had whose further rows cost nothing once the prompts are read, which is
    arithmetic that each row needs: CPU seconds for the prompts, for a token of a row alone, and that limit."""
    ids = [encode_prompt(prompt, completer.encoder) for prompt in asked]
    steps = [[answer.tokens + answer.stopped - 1 for answer in last] for last in (done(completer, prompt) for prompt in asked)]
    reading, said = [], []
    for _ in range(ROUNDS):
        reading.append(cpu_of(lambda: [completer._read([each], [arm]) for each in ids for arm in completer.arms]))
        said.append(cpu_of(lambda: [done(completer, prompt, [arm]) for prompt in asked for arm in completer.arms]))
    alone = sum(map(sum, steps))
    read_s, token_s = min(reading), (min(said) - min(reading)) / alone
    most = min(said) / (read_s + token_s * sum(map(max, steps)))
    return {"prompts_s": round(read_s, 3), "token_s": round(token_s, 5), "batch_is_times": round(most, 2)}


def done(completer: BatchCompleter, prompt: FimPrompt, arms: Any = None) -> Any:
    """The finished answers."""
    (*_, last) = completer.stream(prompt, GREEDY, arms=arms)
    return last


def cpu_of(way: Callable[[], object]) -> float:
    """CPU seconds."""
    before = time.process_time()
    way()
    return time.process_time() - before


def times(batch: list[tuple[float, float]], other: list[tuple[float, float]]) -> dict[str, float]:
    """How many times the other's speed, compared within each round: the median of the rounds."""
    walls, cpus = ([mine[clock] / theirs[clock] for mine, theirs in zip(batch, other, strict=True)] for clock in (0, 1))
    return {"wall": round(statistics.median(walls), 2), "cpu": round(statistics.median(cpus), 2)}


def tokens(completer: BatchCompleter, prompt: FimPrompt, arms: Any) -> int:
    return sum(answer.tokens + answer.stopped for answer in done(completer, prompt, arms))


def generated(completer: BatchCompleter, asked: list[FimPrompt]) -> int:
    """transformers' own loop: the base with its adapter off, then on."""
    import torch

    model: Any = completer._engine.model
    count = 0
    for prompt in asked:
        ids = torch.tensor([encode_prompt(prompt, completer.encoder)])
        options = {
            "max_new_tokens": GREEDY.max_new_tokens,
            "do_sample": False,
            "eos_token_id": [*completer.encoder.stop_ids],
            "pad_token_id": 0,
        }
        options["attention_mask"] = torch.ones_like(ids)
        with torch.no_grad():
            with model.disable_adapter():
                count += model.generate(input_ids=ids, **options).shape[1] - ids.shape[1]
            count += model.generate(input_ids=ids, **options).shape[1] - ids.shape[1]
    return count


def timed(way: Callable[[], int]) -> tuple[float, float]:
    """Tokens per second: of the clock on the wall, and of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = way()
    return count / (time.perf_counter() - wall), count / (time.process_time() - cpu)


def served(run: Run) -> dict[str, Any]:
    """Seconds until the command serves the page and until the model is there, and milliseconds of the first token that are not the model's
    own."""
    from playwright.sync_api import sync_playwright

    with command(run) as (url, page_s, model_s), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.goto(url)
        tab.get_by_role("tab", name="Held-out").click()
        tab.locator("#ask-hole").wait_for()
        waits = [first_token(tab) for _ in range(ROUNDS + 1)][1:]
        browser.close()
    return {"page_s": round(page_s, 2), "model_s": round(model_s, 2), "first_token_above_the_model_ms": [round(wait) for wait in waits]}


def first_token(tab: Any) -> float:
    """From the click to the first text in the page, less what the page says the model took."""
    seen_ms = tab.evaluate(FIRST_JS)
    tab.locator("#again:enabled").wait_for()
    said = tab.inner_text("#answers .facts >> nth=0")
    own_s = float(said.split("first after ")[1].split(" s")[0])
    return float(seen_ms - 1000 * own_s)


@contextmanager
def command(run: Run) -> Iterator[tuple[str, float, float]]:
    """`python -m app`, once its model is there: where the page is, and after how many seconds it was and the model."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "app", str(run.folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, page_s = "", 0.0
        for line in process.stdout:
            if "the playground is at" in line:
                url, page_s = line.split(" at ")[1].split()[0], time.perf_counter() - started
            if line.endswith(" is loaded\n"):
                yield url, page_s, time.perf_counter() - started
                break
        process.kill()


if __name__ == "__main__":
    main()
