"""Blind votes, history, probabilities, several readers, keyboard and accessibility, in a real browser."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_marks import IN_A_BROWSER
from fake_completer import FakeCompleter
from settings_fields import open_settings, set_numbers

from app.record import Question
from app.votes import FILE, Ballots
from finetune.records import FimPrompt

if TYPE_CHECKING:
    from conftest import Serve
    from playwright.sync_api import Browser, Locator, Page

pytestmark = IN_A_BROWSER

PREFIX, SUFFIX = "def f(x):\n    ", "\n    return y\n"
HOLES = [Question(FimPrompt("a = 1\n", "\nc = 3\n"), truth="return x + 2", name="src/first.py: a line")]
SERIOUS = ("serious", "critical")
FOCUS_SHOWS = """() => {
  const style = getComputedStyle(document.activeElement);
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
}"""


@pytest.fixture
def ballots(tmp_path: Path) -> Ballots:
    return Ballots({"tuned": tmp_path}, {"tuned": "a training"})


@pytest.fixture
def other_tab(browser: Browser) -> Iterator[Page]:
    """A tab of another reader."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def ask(tab: Page, prefix: str = PREFIX, suffix: str = SUFFIX) -> None:
    tab.get_by_label("Before the cursor").fill(prefix)
    tab.get_by_label("After the cursor").fill(suffix)
    tab.click("#ask-fim")


def facts(tab: Page, text: str) -> Locator:
    return tab.locator("#answers .facts", has_text=text)


def heads(tab: Page) -> list[str]:
    return [head.split(" your choice")[0].strip() for head in tab.locator("#answers h2").all_inner_texts()]


def test_a_blind_vote_counts_once_and_only_then_shows_who_is_who(
    tab: Page, serve: Serve, completer: FakeCompleter, ballots: Ballots, tmp_path: Path
) -> None:
    tab.goto(serve(completer, ballots=ballots, lot=random.Random(0)))
    tab.get_by_role("checkbox", name="Blind").check()
    for expected in ("Your vote counts", "has a vote already"):
        ask(tab)
        tab.locator("#votes").wait_for()
        assert sorted(heads(tab)) == ["A", "B"]
        html = tab.inner_html("#answers")
        assert "tuned" not in html and "base" not in html.replace("baseline", "") and "tokens/s" not in html
        side = "AB"[[*completer.answering[-1]].index("tuned")]
        tab.get_by_role("button", name=f"{side} is better").click()
        tab.get_by_role("status").filter(has_text=expected).wait_for()
        assert sorted(head[3:] for head in heads(tab)) == ["base", "tuned"]
        assert tab.locator("#votes").is_hidden()
    (line,) = (tmp_path / FILE).read_text().splitlines()
    assert json.loads(line)["choice"] == "tuned"
    assert json.loads(line)["prompt"] == {"kind": "fim", "prefix": PREFIX, "suffix": SUFFIX}
    tab.get_by_role("tab", name="Results").click()
    tab.locator("#results .card", has_text="of 1 decided vote went to tuned").wait_for()
    assert "no difference shown" in tab.inner_text("#results .rate")


def test_answers_that_say_the_same_are_not_voted_on(tab: Page, serve: Serve, completer: FakeCompleter, ballots: Ballots) -> None:
    completer.texts = {"base": "pass", "tuned": "pass"}
    tab.goto(serve(completer, ballots=ballots))
    tab.get_by_role("checkbox", name="Blind").check()
    ask(tab)
    tab.get_by_role("status").filter(has_text="Both say the same").wait_for()
    assert tab.locator("#votes").is_hidden()


def test_the_same_is_asked_again_with_the_next_seed_and_kept_in_the_history(tab: Page, serve: Serve, completer: FakeCompleter) -> None:
    tab.goto(serve(completer))
    set_numbers(tab, Temperature="0.7")
    ask(tab)
    facts(tab, "seed 0").first.wait_for()
    tab.locator("#again:enabled").wait_for()
    tab.get_by_label("Before the cursor").fill("changed since")
    for seed in ("seed 1", "seed 2"):
        tab.locator("#again:enabled").click()
        facts(tab, seed).first.wait_for()
    tab.locator("#again:enabled").wait_for()
    assert [prompt for prompt, _ in completer.asked] == [FimPrompt(PREFIX, SUFFIX)] * 3
    tab.get_by_role("tab", name="History").click()
    tab.locator("#history summary").nth(2).wait_for()
    tab.locator("#history summary").first.click()
    assert "seed 2" in tab.locator("#history details").first.inner_text()
    with tab.expect_download() as download:
        tab.click("#save")
    lines = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert [line["sampling"]["seed"] for line in lines] == [0, 1, 2]
    assert lines[0]["prompt"] == {"kind": "fim", "prefix": PREFIX, "suffix": SUFFIX}
    assert [answer["text"] for answer in lines[0]["answers"]] == ["return x", "return x + 1"]


def test_two_readers_get_their_answers_at_once_and_each_stops_his_own(
    tab: Page, other_tab: Page, serve: Serve, completer: FakeCompleter
) -> None:
    completer.endless = True
    url = serve(completer)
    for reader, prefix in ((tab, "first = "), (other_tab, "second = ")):
        reader.goto(url)
        ask(reader, prefix)
        facts(reader, "still writing").first.wait_for()
    other_tab.locator("#stop:enabled").click()
    facts(other_tab, "cut off by you").first.wait_for()
    before = tab.inner_text("#answers .facts >> nth=0")
    tab.wait_for_function("before => document.querySelector('#answers .facts').innerText !== before", arg=before)
    assert "still writing" in tab.inner_text("#answers .facts >> nth=0")
    tab.locator("#stop:enabled").click()
    facts(tab, "cut off by you").first.wait_for()
    other_tab.get_by_role("tab", name="History").click()
    other_tab.locator("#history summary", has_text="second =").wait_for()
    assert other_tab.locator("#history summary").count() == 1, "a reader's history is his own"


def test_who_answers_can_be_chosen_among_several_adapters(tab: Page, serve: Serve, completer: FakeCompleter, tmp_path: Path) -> None:
    completer.arms = ("base", "one", "two")
    completer.texts = {"base": "a", "one": "b", "two": "c"}
    tab.goto(serve(completer, ballots=Ballots({"one": tmp_path, "two": tmp_path}, {})))
    ask(tab)
    facts(tab, "stopped by itself").nth(2).wait_for()
    assert heads(tab) == ["base", "one", "two"]
    open_settings(tab)
    for arm in ("base", "one"):
        tab.get_by_role("checkbox", name=arm).uncheck()
    tab.click("#ask-fim")
    tab.wait_for_function("() => document.querySelectorAll('#answers h2').length === 1")
    assert [*completer.answering[-1]] == ["two"]
    tab.get_by_role("checkbox", name="Blind").check()
    tab.click("#ask-fim")
    tab.get_by_role("alert").filter(has_text="A blind question needs two").wait_for()


def test_the_login_opens_the_page_in_the_browser(browser: Browser, serve: Serve, completer: FakeCompleter) -> None:
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(serve(completer, auth=("reader", "secret")))
    tab.get_by_label("username").fill("reader")
    tab.get_by_label("password").fill("secret")
    assert tab.locator("#ask-fim").count() == 0
    tab.get_by_role("button", name="Login").click()
    ask(tab)
    facts(tab, "stopped by itself").first.wait_for()
    context.close()


def test_everything_can_be_done_with_the_keyboard(tab: Page, serve: Serve, completer: FakeCompleter, ballots: Ballots) -> None:
    tab.goto(serve(completer, ballots=ballots))
    tab.get_by_label("Before the cursor").focus()
    tab.keyboard.type("x = ")
    tab_to(tab, "#blind input")
    tab.keyboard.press("Space")
    tab_to(tab, "#ask-fim", back=True)
    tab.keyboard.press("Enter")
    tab.locator("#votes").wait_for()
    tab_to(tab, "#votes button:nth-of-type(3)")
    tab.keyboard.press("Enter")
    tab.get_by_role("status").filter(has_text="Your vote counts").wait_for()
    assert completer.asked[0][0] == FimPrompt("x = ", "")
    assert [vote.choice for vote in ballots.votes()[0]] == ["tie"]


def tab_to(tab: Page, selector: str, *, back: bool = False) -> None:
    """Presses Tab until the element has the focus, which must show."""
    for _ in range(40):
        tab.keyboard.press("Shift+Tab" if back else "Tab")
        if tab.evaluate("selector => document.activeElement.matches(selector)", selector):
            assert tab.evaluate(FOCUS_SHOWS), f"nothing shows that {selector} has the focus"
            return
    pytest.fail(f"{selector} is never reached")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_no_serious_fault_on_any_page(
    browser: Browser, serve: Serve, completer: FakeCompleter, ballots: Ballots, width: int, scheme: str
) -> None:
    """And no page scrolls sideways."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    tab = context.new_page()
    tab.goto(serve(completer, ballots=ballots, holes=HOLES))
    open_settings(tab)
    tab.get_by_role("radio", name="Probabilities").check()
    ask(tab)
    tab.locator("#answers .numbers summary").first.click()
    faults = serious_faults(tab)
    for name in ("Instruction", "Continue"):
        tab.get_by_role("tab", name=name).click()
        faults += serious_faults(tab)
    tab.get_by_role("radio", name="Differences").check()
    tab.get_by_role("tab", name="Held-out").click()
    tab.get_by_role("checkbox", name="Blind").check()
    tab.click("#ask-hole")
    tab.get_by_role("button", name="A is better").click()
    tab.locator("#told .told").wait_for()
    faults += serious_faults(tab)
    for name, shown in (("Results", "#results .card"), ("History", "#history details")):
        tab.get_by_role("tab", name=name).click()
        tab.locator(shown).first.wait_for()
        tab.locator("#history summary").first.click() if name == "History" else None
        faults += serious_faults(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert faults == []
    context.close()


def serious_faults(tab: Page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab).response["violations"]
    return [f"{fault['id']}: {node['html'][:200]}" for fault in found if fault["impact"] in SERIOUS for node in fault["nodes"]]
