"""The page: ways to ask, answers side by side, results of blind votes, history. No torch: it takes any Completer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from gradio.components import Component

from app import pages, view
from app.answering import CHOICES, Desk
from app.asking import ANYTHING, Reach, ask_tabs
from app.record import Question, Session, export_lines
from app.settings import sampling_fields, view_fields
from app.votes import Ballots, tallies
from finetune.errors import FinetuneError
from finetune.records import Completer

STYLE = Path(__file__).with_name("style.css")
READERS = 4  # whose answers grow at the same time; their forward passes take turns
_MONOSPACE = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]
_SANS = ["system-ui", "-apple-system", "Segoe UI", "DejaVu Sans", "sans-serif"]
_HEAD = "<script>document.documentElement.lang = 'en'</script>"
_SAVE = """(text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/jsonl"}));
  link.download = "playground.jsonl";
  link.click();
  URL.revokeObjectURL(link.href);
}"""


def playground(
    completer: Completer,
    *,
    title: str,
    holes: Sequence[Question] = (),
    reach: Reach = ANYTHING,
    ballots: Ballots | None = None,
    lot: random.Random | None = None,
) -> gr.Blocks:
    """The page over one completer; `holes` are questions with a name and a known truth, `reach` says what can be asked.

    Without `ballots` nothing is blind. `lot` draws the sides of a blind question; the system's own, unless told.
    """
    desk = Desk(completer, ballots, lot or random.SystemRandom())
    page: gr.Blocks
    with gr.Blocks(title="octotune playground", analytics_enabled=False, fill_width=True) as page:
        session = gr.State(Session())
        gr.HTML(view.heading(title))
        with gr.Tabs(elem_id="pages"):
            with gr.Tab("Playground"):
                look = _asking(desk, session, holes, reach)
            if ballots is not None:
                _results_tab(completer, ballots)
            _history_tab(session, look)
    return page


def open_page(page: gr.Blocks, *, host: str, port: int, auth: tuple[str, str] | None = None) -> str:
    """Serves the page from this process and gives its address; nothing is shared, reported or loaded from elsewhere."""
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        auth=auth,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        footer_links=[],
        run_history=False,  # gradio's own: a page of what was asked, which can be sent to a bucket of its maker's hub
        theme=_theme(),
        css_paths=STYLE,
        head=_HEAD,
    )
    return str(url)


def _theme() -> gr.themes.Base:
    """Fonts that are on the reader's machine, and buttons whose text can be read (contrast above 4.5)."""
    theme = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=_SANS, font_mono=_MONOSPACE)
    return theme.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )


def _asking(desk: Desk, session: gr.State, holes: Sequence[Question], reach: Reach) -> gr.Radio:
    """Fields above, answers below; gives the field that says what is marked."""
    arms = desk.completer.arms
    with gr.Tabs(elem_id="asks"):
        asks = ask_tabs(holes, reach)
    sampling = sampling_fields(arms, reach.longest)
    with gr.Row(elem_classes="bar"):
        gr.HTML('<h2 class="bar-title">Answers</h2>')
        again = gr.Button("Regenerate", interactive=False, elem_id="again", scale=0, min_width=120)
        stop = gr.Button("Stop", interactive=False, elem_id="stop", scale=0, min_width=96)
    with gr.Row(elem_classes="ways"):
        blind, look = view_fields(arms if desk.ballots is not None else [])
    answers = gr.HTML(view.waiting(arms), elem_id="answers")
    with gr.Row(visible=False, elem_id="votes") as votes:
        buttons = [gr.Button(choice, min_width=120) for choice in CHOICES]
    outputs: list[Any] = [answers, stop, again, votes, gr.HTML("", elem_id="told")]
    fields: list[Any] = [session, *sampling, blind, look]
    for ask in asks:
        _stream(ask.button, desk.worker(ask.question), [*fields, *ask.inputs], outputs)
    # The button is free a moment before the page knows that the answer has ended: a click then counts, when it has.
    _stream(again, desk.again, fields, outputs, trigger_mode="always_last")
    _at_once(stop, desk.stop, [session], [])
    look.change(desk.look, [session, look], answers, queue=False, show_progress="hidden", api_visibility="private")
    for number, button in enumerate(buttons):
        _at_once(button, desk.voter(number), [session, look], outputs)
    return look


def _stream(
    button: gr.Button,
    work: Callable[..., object],
    inputs: Sequence[Component],
    outputs: Sequence[Component],
    trigger_mode: Literal["once", "always_last"] = "once",
) -> None:
    button.click(
        work,
        [*inputs],
        [*outputs],
        concurrency_limit=READERS,
        concurrency_id="model",
        trigger_mode=trigger_mode,
        show_progress="hidden",
        api_visibility="private",
    )


def _at_once(button: gr.Button, work: Callable[..., object], inputs: Sequence[Component], outputs: Sequence[Component]) -> None:
    """Past the queue: a reader who stops or votes does not wait for another one's answer."""
    button.click(work, [*inputs], [*outputs], queue=False, show_progress="hidden", api_visibility="private")


def _results_tab(completer: Completer, ballots: Ballots) -> None:
    with gr.Tab("Results") as tab:
        shown = gr.HTML(elem_id="results")

    def show() -> str:
        try:
            votes, stale = ballots.votes()
        except FinetuneError as error:
            return view.notice(str(error))
        return pages.results(tallies(votes, completer.arms), stale, ballots.places)

    tab.select(show, None, shown, queue=False, show_progress="hidden", api_visibility="private")


def _history_tab(session: gr.State, look: gr.Radio) -> None:
    with gr.Tab("History") as tab:
        with gr.Row(elem_classes="bar"):
            gr.HTML('<h2 class="bar-title">This session <small>it ends with the page; nobody else sees it</small></h2>')
            save = gr.Button("Download JSONL", elem_id="save", scale=0, min_width=150)
        shown = gr.HTML(elem_id="history")
        lines = gr.Textbox(visible="hidden", elem_id="lines", label="export")

    def show(session: Session, look: view.Look) -> str:
        return pages.history([*session.records], look)

    def export(session: Session) -> str:
        return export_lines([*session.records])

    tab.select(show, [session, look], shown, queue=False, show_progress="hidden", api_visibility="private")
    save.click(export, [session], lines, queue=False, show_progress="hidden", api_visibility="private").then(None, [lines], None, js=_SAVE)
