"""The ways to ask: a tab each, with its fields, its button and the question that they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import gradio as gr
from gradio.components import Component

from app import view
from app.record import Question
from finetune.errors import FinetuneError
from finetune.records import FimPrompt, InstructPrompt, TextPrompt

_GAP = '<p class="gap-bar"><span>the gap</span> The answer comes here, between the two, byte for byte.</p>'


class Ask(NamedTuple):
    """One way to ask: its button, what is read from the page, and the question that this gives."""

    button: gr.Button
    inputs: list[Component]
    question: Callable[..., Question]


class Reach(NamedTuple):
    """What can be asked: the most new tokens, whether the base fills gaps, and whether what was learnt are instructions alone."""

    longest: int = 512
    fills: bool = True
    instructed: bool = False


ANYTHING = Reach()


def ask_tabs(holes: Sequence[Question], reach: Reach) -> list[Ask]:
    """All ways to ask, that of what was learnt first; held-out holes only where there are some, a gap only for a model that fills gaps."""
    # A tab stands where it is made.
    instruct = [_instruct_tab()] if reach.instructed else []
    first = _fim_tab() if reach.fills else _text_tab()
    held_out = [_hole_tab(holes)] if holes else []
    instruct = instruct or [_instruct_tab()]
    return [first, *held_out, *instruct, *([_text_tab()] if reach.fills else [])]


def require(condition: object, message: str) -> None:
    """Raises FinetuneError with what the reader has to do when the condition does not hold."""
    if not condition:
        raise FinetuneError(message)


def _fim_tab() -> Ask:
    with gr.Tab("Fill in the middle"):
        with gr.Column(elem_classes="file", elem_id="fim"):
            prefix = _code("Before the cursor", "prefix", "def area(radius):\n    ")
            gr.HTML(_GAP)
            suffix = _code("After the cursor", "suffix", "\n\nprint(area(2))\n")
        button = gr.Button("Fill in", variant="primary", elem_id="ask-fim")

    def question(prefix: str, suffix: str) -> Question:
        require(prefix or suffix, "There is nothing to fill in between: write something before or after the cursor.")
        return Question(FimPrompt(prefix, suffix))

    return Ask(button, [prefix, suffix], question)


def _text_tab() -> Ask:
    with gr.Tab("Continue"):
        text = _code("Text to go on from, left to right", "text", "import json\n\n\ndef read_settings(")
        button = gr.Button("Go on", variant="primary", elem_id="ask-text")

    def question(text: str) -> Question:
        require(text, "There is nothing to go on from: write the beginning of a file.")
        return Question(TextPrompt(text))

    return Ask(button, [text], question)


def _instruct_tab() -> Ask:
    with gr.Tab("Instruction"):
        with gr.Row():
            request = _code("What is to be done", "request", "Handle an empty list.")
            context = _code("The code it is about (may be empty)", "context", "def mean(values):\n    return sum(values) / len(values)\n")
        button = gr.Button("Ask", variant="primary", elem_id="ask-instruct")

    def question(request: str, context: str) -> Question:
        require(request.strip(), "Nothing is asked: write what is to be done.")
        return Question(InstructPrompt(request, context))

    return Ask(button, [request, context], question)


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
        gr.Textbox(label=label, placeholder=example, lines=5, max_lines=14, elem_id=name, elem_classes="code", min_width=260),
    )
