"""The playground in a real browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_marks import IN_A_BROWSER
from fake_completer import WAIT_S, FakeCompleter
from settings_fields import set_numbers

from app.record import Question
from app.settings import OTHERS
from app.votes import Ballots
from finetune.records import FimPrompt, InstructPrompt, Sampling, TextPrompt

if TYPE_CHECKING:
    from conftest import Serve
    from playwright.sync_api import Page

pytestmark = IN_A_BROWSER

PREFIX = "def f(x):\n    "
SUFFIX = "\n    return y\n"
MARKUP = '</span></pre><img src=x onerror="window.ran=1"><script>window.ran=1</script>${window.ran=1}{{value}}&lt;b&gt;'
HOLES = [
    Question(FimPrompt("a = 1\n", "\nc = 3\n"), truth="b = 2", name="src/first.py: line 2"),
    Question(FimPrompt("import math\n\n\ndef area(r):\n    ", "\n"), truth="return math.pi * r * r", name="src/area.py: line 5"),
]


def fill_in(tab: Page, prefix: str = PREFIX, suffix: str = SUFFIX) -> None:
    tab.get_by_label("Before the cursor").fill(prefix)
    tab.get_by_label("After the cursor").fill(suffix)
    tab.click("#ask-fim")


def panel(tab: Page, arm: str) -> str:
    return f'#answers section[aria-label="{arm}"]'


def said(tab: Page, arm: str) -> str:
    """The text of an answer as the browser holds it, without the lines around it."""
    return str(tab.eval_on_selector(f"{panel(tab, arm)} .said", "element => element.textContent"))


def wait_for_fact(tab: Page, fact: str, arm: str = "tuned") -> None:
    tab.locator(f"{panel(tab, arm)} .facts", has_text=fact).wait_for()


def test_base_and_tuned_answer_side_by_side_with_differences_marked(
    tab: Page, serve: Serve, completer: FakeCompleter, tmp_path: Path
) -> None:
    prefix, suffix = (
        "from myteam.geometry import Circle\n\n\ndef area(circle: Circle) -> float:\n    ",
        '\n\n\nif __name__ == "__main__":\n    main()\n',
    )
    completer.texts = {
        "base": '"""Area of the circle."""\n    return 3.14 * circle.radius ** 2',
        "tuned": '"""Area of the circle, in square metres."""\n    return PI * circle.radius**2',
    }
    tab.goto(serve(completer, holes=HOLES, ballots=Ballots({"tuned": tmp_path}, {})))
    fill_in(tab, prefix, suffix)
    wait_for_fact(tab, "stopped by itself", "base")
    wait_for_fact(tab, "stopped by itself", "tuned")
    tab.locator("#stop:disabled").wait_for()
    assert (said(tab, "base"), said(tab, "tuned")) == (completer.texts["base"], completer.texts["tuned"])
    marked = tab.eval_on_selector_all(f"{panel(tab, 'tuned')} .said mark", "all => all.map(element => element.textContent)")
    assert marked == [", in square metres", "PI"]
    facts = tab.inner_text(f"{panel(tab, 'tuned')} .facts")
    assert "34 tokens in 1.70 s" in facts and "21 tokens/s" in facts and "first after 0.05 s" in facts
    if os.environ.get("SCREENSHOT"):
        tab.screenshot(path=Path(__file__).parents[2] / "docs" / "images" / "playground.png", full_page=True)


def test_answers_grow_while_they_are_written(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    completer.paced = True
    completer.texts = {"base": "one two three", "tuned": "four five six"}
    tab.goto(serve(completer))
    fill_in(tab)
    for seen in ("four", "four five", "four five six"):
        pieces = len(seen.split()) * 2 - 1
        completer.go.release(1 if pieces == 1 else 2)
        tab.wait_for_function(
            "text => document.querySelector('#answers section[aria-label=tuned] .said')?.textContent.trim() === text", arg=seen
        )
    wait_for_fact(tab, "stopped by itself")


def test_stop_ends_the_work_and_keeps_what_was_said(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    completer.endless = True
    tab.goto(serve(completer))
    fill_in(tab)
    wait_for_fact(tab, "still writing")
    tab.locator("#stop:enabled").click()
    wait_for_fact(tab, "cut off by you")
    assert completer.closed.is_set()
    assert said(tab, "tuned").startswith("return")
    tab.locator("#stop:disabled").wait_for()


def test_a_stopped_page_answers_the_next_question(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    completer.endless = True
    tab.goto(serve(completer))
    fill_in(tab)
    tab.locator("#stop:enabled").click()
    wait_for_fact(tab, "cut off by you")
    completer.endless = False
    tab.click("#ask-fim")
    wait_for_fact(tab, "stopped by itself")


def test_leaving_the_page_ends_the_work(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    completer.endless = True
    tab.goto(serve(completer))
    fill_in(tab)
    wait_for_fact(tab, "still writing")
    tab.close()
    assert completer.closed.wait(WAIT_S)


def test_white_space_reaches_the_completer_byte_for_byte(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    tab.goto(serve(completer))
    fill_in(tab)
    wait_for_fact(tab, "stopped by itself")
    tab.get_by_role("tab", name="Continue").click()
    tab.get_by_label("Text to go on from").fill("\tif x:\n\n  ")
    tab.click("#ask-text")
    tab.locator("#answers .context", has_text="if x:").first.wait_for()
    tab.get_by_role("tab", name="Instruction").click()
    tab.get_by_label("What is to be done").fill(" Rename x. \n")
    tab.get_by_label("The code it is about").fill("\n\tx = 1  \n")
    tab.click("#ask-instruct")
    tab.locator("#answers .context", has_text="if x:").first.wait_for(state="detached")
    assert [prompt for prompt, _ in completer.asked] == [
        FimPrompt(PREFIX, SUFFIX),
        TextPrompt("\tif x:\n\n  "),
        InstructPrompt(" Rename x. \n", "\n\tx = 1  \n"),
    ]


def test_white_space_of_an_answer_is_shown_as_it_is(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    completer.texts = {"base": "\n\n  x\n", "tuned": "  \ty\n\n"}
    tab.goto(serve(completer))
    fill_in(tab)
    wait_for_fact(tab, "stopped by itself")
    assert (said(tab, "base"), said(tab, "tuned")) == ("\n\n  x\n", "  \ty\n\n")


def test_markup_from_the_model_or_the_reader_is_shown_as_text(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    completer.texts = {"base": MARKUP, "tuned": "x" + MARKUP}
    tab.goto(serve(completer, holes=[Question(FimPrompt(MARKUP, MARKUP), truth=MARKUP, name=MARKUP)]))
    fill_in(tab, MARKUP, MARKUP)
    wait_for_fact(tab, "stopped by itself")
    assert said(tab, "base") == MARKUP
    assert tab.eval_on_selector(f"{panel(tab, 'base')} .context", "element => element.textContent") == MARKUP
    tab.get_by_role("tab", name="Held-out").click()
    tab.click("#ask-hole")
    wait_for_fact(tab, "equal to the true text", "base")
    completer.refusal = MARKUP
    tab.click("#ask-hole")
    tab.locator(".notice", has_text="onerror").wait_for()
    assert tab.evaluate("window.ran") is None
    assert tab.locator("#answers img, #hole-text img").count() == 0


def test_a_hole_is_shown_with_its_true_text(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    completer.texts = {"base": "return 0", "tuned": "return math.pi * r * r"}
    tab.goto(serve(completer, holes=HOLES))
    tab.get_by_role("tab", name="Held-out").click()
    tab.locator("#hole input").click()
    tab.get_by_role("option", name="src/area.py").click()
    tab.locator("#hole-text", has_text="def area").wait_for()
    assert "math.pi" not in tab.inner_text("#hole-text")
    tab.click("#ask-hole")
    wait_for_fact(tab, "equal to the true text", "tuned")
    wait_for_fact(tab, "not the true text", "base")
    assert completer.asked[0][0] == HOLES[1].prompt
    assert "return math.pi * r * r" in tab.inner_text(panel(tab, "what really stands there"))


def test_settings_explain_themselves_and_reach_the_completer(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    completer.texts = {"base": "a b c d e f", "tuned": "a b c d e f"}
    tab.goto(serve(completer))
    set_numbers(tab, Longest_answer="3", Temperature="0.7", Top_p="0.5", Seed="11")
    assert "the same answer each time" in tab.inner_text("#settings")
    fill_in(tab)
    wait_for_fact(tab, "ran into the limit")
    assert completer.asked[0][1] == Sampling(max_new_tokens=3, temperature=0.7, top_p=0.5, seed=11, others=OTHERS)


def test_what_can_not_be_answered_is_said_in_words(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    completer.refusal = "this base model has no fill-in-the-middle tokens; use the tab Go on"
    tab.goto(serve(completer))
    tab.click("#ask-fim")
    tab.get_by_role("alert").filter(has_text="write something before or after the cursor").wait_for()
    assert completer.asked == []
    fill_in(tab)
    tab.get_by_role("alert").filter(has_text=completer.refusal).wait_for()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_never_scrolls_sideways(tab: Page, serve: Serve, completer: FakeCompleter, width: int) -> None:
    long = "x = [" + "'a long line without an end', " * 40 + "]\n"
    completer.texts = {"base": long, "tuned": "\n" * 80 + long}
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(serve(completer, holes=HOLES))
    fill_in(tab, prefix=long)
    wait_for_fact(tab, "ran into the limit", "base")
    for name in ("Fill in the middle", "Continue", "Instruction", "Held-out"):
        tab.get_by_role("tab", name=name).click()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    heights = tab.eval_on_selector_all("#answers pre", "all => all.map(element => element.clientHeight)")
    assert max(heights) <= 24 * 16, "a long answer scrolls in its own box"
    lefts = tab.eval_on_selector_all("#answers section", "all => all.map(element => Math.round(element.getBoundingClientRect().left))")
    assert (len(set(lefts)) == 2) == (width == 1280), "side by side where there is room, else one below the other"


def test_a_phone_has_room_for_every_field(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    tab.set_viewport_size({"width": 390, "height": 900})
    tab.goto(serve(completer, holes=[Question(FimPrompt("a", "b"), truth="c", name="src/" + "a_long_name_" * 6 + ".py: a line")]))
    set_numbers(tab, Longest_answer="3")
    widths = tab.eval_on_selector_all("#settings .form > .block", "all => all.map(element => element.clientWidth)")
    assert len(widths) >= 4 and min(widths[:4]) > 300, "settings stand one below the other"
    tab.get_by_role("tab", name="Held-out").click()
    name, arrow = (tab.locator(f"#hole {part}").first.bounding_box() for part in ("input", "svg"))
    assert name is not None and arrow is not None
    padding = float(str(tab.eval_on_selector("#hole input", "element => parseFloat(getComputedStyle(element).paddingRight)")))
    assert name["x"] + name["width"] - padding <= arrow["x"], "a long name ends before the arrow"
    tab.get_by_label("Probabilities").check()
    tab.click("#ask-hole")
    tab.locator("#answers .numbers summary").first.click()
    for part in ("table", "tr", "td"):
        assert tab.eval_on_selector(f"#answers .numbers {part}", "element => getComputedStyle(element).borderLeftWidth") == "0px"
