"""The page: three ways to ask, the answers of base and tuned side by side. No torch: it takes any Completer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, cast

import gradio as gr
from gradio.components import Component

from app import view
from app.view import Question
from finetune.errors import FinetuneError
from finetune.records import Answer, Completer, FimPrompt, InstructPrompt, Sampling, TextPrompt

STYLE = Path(__file__).with_name("style.css")
_MONOSPACE = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]
_SANS = ["system-ui", "-apple-system", "Segoe UI", "DejaVu Sans", "sans-serif"]


class Ask(NamedTuple):
    """One way to ask: its button, what is read from the page, and the question that this gives."""

    button: gr.Button
    inputs: list[Component]
    question: Callable[..., Question]


def playground(completer: Completer, *, title: str, holes: Sequence[Question] = (), longest: int = 512) -> gr.Blocks:
    """The page over one completer; `holes` are questions with a name and a known truth, `longest` the most new tokens to ask for.

    One question at a time goes to the model, whoever asks: it is in memory once.
    """
    stopped: set[str] = set()  # sessions whose reader has pressed Stop since their question began
    page: gr.Blocks
    with gr.Blocks(title="octotune playground", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(view.heading(title))
        with gr.Tabs():
            asks = [_fim_tab(), *_prompt_tabs(), *([_hole_tab(holes)] if holes else [])]
        settings = _settings(longest)
        with gr.Row(elem_classes="bar"):
            gr.HTML('<h2 class="bar-title">Answers</h2>')
            stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop", scale=0, min_width=96)
        answers = gr.HTML(view.waiting(completer.arms), elem_id="answers")
        gr.HTML(view.LEGEND)
        for ask in asks:
            _connect(ask, settings, answers=answers, stop=stop, work=_worker(completer, ask.question, stopped))
        stop.click(_stopper(stopped), queue=False, show_progress="hidden", api_visibility="private")
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
        theme=_theme(),
        css_paths=STYLE,
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
    )


def _fim_tab() -> Ask:
    with gr.Tab("Fill in the middle"):
        with gr.Row():
            prefix = _code("Before the cursor", "prefix", "def area(radius):\n    ")
            suffix = _code("After the cursor", "suffix", "\n\nprint(area(2))\n")
        button = gr.Button("Fill in", variant="primary", elem_id="ask-fim")

    def question(prefix: str, suffix: str) -> Question:
        _require(prefix or suffix, "There is nothing to fill in between: write something before or after the cursor.")
        return Question(FimPrompt(prefix, suffix))

    return Ask(button, [prefix, suffix], question)


def _prompt_tabs() -> tuple[Ask, Ask]:
    with gr.Tab("Go on"):
        text = _code("Text to go on from, left to right", "text", "import json\n\n\ndef read_settings(")
        go_on = gr.Button("Go on", variant="primary", elem_id="ask-text")
    with gr.Tab("Ask"):
        with gr.Row():
            request = _code("What is to be done", "request", "Handle an empty list.")
            context = _code("The code it is about (may be empty)", "context", "def mean(values):\n    return sum(values) / len(values)\n")
        instruct = gr.Button("Ask", variant="primary", elem_id="ask-instruct")

    def continuation(text: str) -> Question:
        _require(text, "There is nothing to go on from: write the beginning of a file.")
        return Question(TextPrompt(text))

    def instruction(request: str, context: str) -> Question:
        _require(request.strip(), "Nothing is asked: write what is to be done.")
        return Question(InstructPrompt(request, context))

    return Ask(go_on, [text], continuation), Ask(instruct, [request, context], instruction)


def _hole_tab(holes: Sequence[Question]) -> Ask:
    with gr.Tab("Held-out"):
        chosen = gr.Dropdown(
            [(f"{index + 1}. {hole.name}", index) for index, hole in enumerate(holes)],
            value=0,
            label="A hole in a file that was not learnt from",
            info="Its true text is shown beside the answers.",
            filterable=False,
            elem_id="hole",
        )
        preview = gr.HTML(view.open_hole(holes[0]), elem_id="hole-text")
        button = gr.Button("Fill in", variant="primary", elem_id="ask-hole")

    def show(index: int) -> str:
        return view.open_hole(holes[index])

    def question(index: int) -> Question:
        return holes[index]

    chosen.change(show, chosen, preview, show_progress="hidden", api_visibility="private")
    return Ask(button, [chosen], question)


def _code(label: str, name: str, example: str) -> Component:
    """A field for code. A text box: gradio's code editor strips white space at both ends, which are the cursor's place."""
    return cast(
        Component,
        gr.Textbox(label=label, placeholder=example, lines=7, max_lines=14, elem_id=name, elem_classes="code", min_width=260),
    )


def _settings(longest: int) -> list[Component]:
    """How answers are drawn, in the order of Sampling's fields."""
    default = Sampling()
    with gr.Accordion("How the answer is drawn", open=False, elem_id="settings"), gr.Row():
        fields = [
            gr.Slider(
                1,
                longest,
                min(default.max_new_tokens, longest),
                step=1,
                label="Longest answer (tokens)",
                info="An answer that has not ended by itself is cut here.",
            ),
            gr.Slider(
                0,
                2,
                default.temperature,
                step=0.05,
                label="Temperature",
                info="0: always the likeliest token, the same answer each time. Higher: more varied.",
            ),
            gr.Slider(
                0.05,
                1,
                default.top_p,
                step=0.05,
                label="Top p",
                info="Draws only from the likeliest tokens that together reach this share. No effect at temperature 0.",
            ),
            gr.Number(
                default.seed,
                precision=0,
                minimum=0,
                label="Seed",
                info="The same seed draws the same answer again. No effect at temperature 0.",
            ),
        ]
    return cast("list[Component]", fields)


def _connect(
    ask: Ask, settings: list[Component], *, answers: gr.HTML, stop: gr.Button, work: Callable[..., Iterator[tuple[str, object]]]
) -> None:
    ask.button.click(
        work,
        [*settings, *ask.inputs],
        [answers, stop],
        concurrency_limit=1,
        concurrency_id="model",
        show_progress="hidden",
        api_visibility="private",
    )


def _worker(completer: Completer, question: Callable[..., Question], stopped: set[str]) -> Callable[..., Iterator[tuple[str, object]]]:
    """What a button does: streams panels, with the Stop button awake as long as it can do something."""

    def work(request: gr.Request, *values: object) -> Iterator[tuple[str, object]]:
        session = str(request.session_hash)
        stopped.discard(session)
        try:
            asked, sampling = question(*values[4:]), _sampling(values[:4])
            for html in _stream(completer, asked, sampling, enough=lambda: session in stopped):
                yield html, gr.Button(interactive=True)
        except FinetuneError as error:
            yield view.notice(str(error)), gr.Button(interactive=False)
        else:
            yield html, gr.Button(interactive=False)

    return work


def _stopper(stopped: set[str]) -> Callable[[gr.Request], None]:
    def stop(request: gr.Request) -> None:
        stopped.add(str(request.session_hash))

    return stop


def _stream(completer: Completer, question: Question, sampling: Sampling, *, enough: Callable[[], bool]) -> Iterator[str]:
    """The panels after each token, and once more when all have ended or the reader has had enough."""
    answers: Sequence[Answer] = [Answer(arm, "", 0, 0.0, stopped=False, finished=False) for arm in completer.arms]
    first_s: float | None = None
    cut = False
    yield view.panels(answers, question, state="running", first_s=None)
    asked = time.monotonic()
    with closing(cast("Generator[Sequence[Answer]]", completer.stream(question.prompt, sampling))) as stream:
        for answers in stream:
            first_s = time.monotonic() - asked if first_s is None else first_s
            cut = enough()
            if cut:
                break
            yield view.panels(answers, question, state="running", first_s=first_s)
    yield view.panels(answers, question, state="cut" if cut else "ended", first_s=first_s)


def _sampling(values: Sequence[object]) -> Sampling:
    most, temperature, top_p, seed = values
    _require(isinstance(seed, int), "The seed is empty: write a whole number, for example 0.")
    return Sampling(
        max_new_tokens=int(cast(float, most)),
        temperature=float(cast(float, temperature)),
        top_p=float(cast(float, top_p)),
        seed=cast(int, seed),
    )


def _require(condition: object, message: str) -> None:
    if not condition:
        raise FinetuneError(message)
