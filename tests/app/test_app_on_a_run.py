"""python -m app on a real run with a tiny model: from the command to an answer in the browser, and out again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_marks import LEFT_OPEN
from fake_completer import FakeCompleter
from watching import bounded

from app.__main__ import _holes, _page, free_port
from app.heldout import HOLES, longest_answer, questions
from finetune.base import read_base
from finetune.data.store import write_heldout
from finetune.recipe import parse_recipe
from finetune.records import FimPrompt, Origin, SourceFile, TextPrompt
from finetune.run import Run, open_run

if TYPE_CHECKING:
    import gradio as gr
    from conftest import Serve
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
BODY = "def {0}{1}():\n x = {1}\n y = x\n z = {1}\n return z\n\n"
FILES = [SourceFile(Origin("shop", "c", f"src/{name}.py"), "Python", "".join(BODY.format(name, i) for i in range(6))) for name in "abc"]


@pytest.fixture
def run(tiny_base: Path, tmp_path: Path) -> Run:
    """A run that is built and trained, as far as its folder says: an adapter without effect, three held-out files."""
    from finetune.methods import save_adapter
    from finetune.model import load_model

    overrides = [f"runs={tmp_path}", f"model.path={tiny_base}", "data.row_length=256", "evaluate.max_new_tokens=48"]
    run = open_run(parse_recipe("", overrides, name="shop"))
    base = read_base(run.recipe.model)
    with run.step("build"):
        write_heldout(FILES, run.data / "heldout.jsonl")
    with run.step("train"):
        run.adapter.mkdir()
        save_adapter(run.recipe.adapter(load_model(base, run.recipe.model), base.family), run.adapter, base)
    return run


def test_the_holes_offered_are_those_that_are_measured(run: Run) -> None:
    base = read_base(run.recipe.model)
    offered = questions(run, base)
    assert {question.name.split(": ")[1] for question in offered} == {"a line", "a span", "a block"}
    assert len(offered) <= 3 * HOLES
    texts = {file.origin.path: file.text for file in FILES}
    for question in offered:
        assert isinstance(question.prompt, FimPrompt) and question.truth
        assert question.prompt.prefix + question.truth + question.prompt.suffix in texts[question.name.split(": ")[0]]
    assert longest_answer(base) == 256, "half of the context"


def test_a_run_without_held_out_files_opens_without_holes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """None was held out, or the data stayed on the machine of the training."""
    base, path = read_base(run.recipe.model), run.data / "heldout.jsonl"
    path.write_text("")
    assert _holes(run, base) == []
    path.unlink()
    assert _holes(run, base) == []
    assert capsys.readouterr().out.count(f"no held-out examples: {path}: ") == 2


def tabs(page: gr.Blocks) -> list[str]:
    import gradio as gr

    return [block.label for block in page.blocks.values() if isinstance(block, gr.Tab)]


@LEFT_OPEN
def test_only_a_base_that_fills_gaps_is_asked_to(byte_tokenizer: Callable[[list[str]], Path], tmp_path: Path, serve: Serve) -> None:
    """A base of no family continues texts, and so do its holes; with added tokens it fills gaps."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = byte_tokenizer(["</s>"])
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=257, eos_token_id=0, **shape)).save_pretrained(folder)
    for overrides, asks, prompt in (
        (["data.miners=[{kind: fim, rate: 0}]"], ["Continue", "Held-out", "Instruction"], TextPrompt),
        (["model.add_fim_tokens=true"], ["Fill in the middle", "Held-out", "Instruction", "Continue"], FimPrompt),
    ):
        recipe = parse_recipe("", [f"runs={tmp_path}", f"model.path={folder}", "data.row_length=256", *overrides], name=prompt.__name__)
        other, base = open_run(recipe), read_base(recipe.model)
        with other.step("build"):
            write_heldout(FILES, other.data / "heldout.jsonl")
        assert tabs(_page(FakeCompleter(), [other], base)) == ["Playground", *asks, "Results", "History"]
        assert all(isinstance(hole.prompt, prompt) for hole in _holes(other, base))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_runs_that_learnt_instructions_alone_open_on_them(run: Run, serve: Serve) -> None:
    def asks(*miners: str) -> list[str]:
        kinds = [run.recipe.model_validate(run.recipe.model_dump(mode="json") | {"data": {"miners": [kind]}}) for kind in miners]
        page = _page(FakeCompleter(), [Run(run.folder, recipe) for recipe in kinds], read_base(run.recipe.model))
        return tabs(page)[1:-2]

    assert asks("commits") == asks("docstrings", "commits") == ["Instruction", "Fill in the middle", "Held-out", "Continue"]
    assert asks("commits", "fim")[0] == asks("notebooks")[0] == "Fill in the middle"


@pytest.fixture
def served(run: Run) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, once it says where the page is."""
    port = free_port("127.0.0.1", None)
    command = [sys.executable, "-m", "app", str(run.folder), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        with bounded(process, seconds=300):
            for line in process.stdout:
                said.append(line)
                if "the playground is at" in line:
                    break
            else:
                pytest.fail("".join(said))
        yield process, f"http://127.0.0.1:{port}/"
        process.kill()


@pytest.mark.browser
def test_the_command_serves_a_run_until_it_is_interrupted(served: tuple[subprocess.Popen[str], str], tab: Page) -> None:
    process, url = served
    tab.goto(url)
    tab.get_by_role("tab", name="Held-out").click()
    tab.click("#ask-hole")
    for arm in ("base", "shop"):
        tab.locator(f'#answers section[aria-label="{arm}"] .facts', has_text="the true text").wait_for()
    base, tuned = tab.eval_on_selector_all("#answers .said", "all => all.map(element => element.textContent)")
    assert base == tuned, "an adapter without effect says what the base says"
    tab.get_by_role("tab", name="Fill in the middle").click()
    tab.get_by_label("Before the cursor").fill("x" * 600)
    tab.click("#ask-fim")
    tab.get_by_role("alert").filter(has_text="the model reads at most 512").wait_for()
    tab.close()  # an open page complains, rightly, when its server goes, and one that is left (beforeunload) while a stream of it is open
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
