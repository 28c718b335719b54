"""How answers are drawn and shown: fields that explain themselves, and what they say in one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import gradio as gr
from gradio.components import Component

from app.asking import require
from app.view import LOOKS, Look
from finetune.records import Sampling

OTHERS = 4  # likely tokens shown beside each one
FIELDS = 7
FEWEST_BLIND = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What the fields say; `arms` in the completer's order."""

    sampling: Sampling
    arms: Sequence[str]
    blind: bool
    look: Look


def sampling_fields(arms: Sequence[str], longest: int) -> list[Component]:
    """Length, temperature, top-p, seed and the arms that answer, in this order."""
    default = Sampling()
    with gr.Accordion("How the answer is drawn", open=False, elem_id="settings"):
        with gr.Row():
            most = gr.Slider(1, longest, min(default.max_new_tokens, longest), step=1, label="Longest answer (tokens)")
            most.info = "An answer that has not ended by itself is cut here."
            temperature = gr.Slider(0, 2, default.temperature, step=0.05, label="Temperature")
            temperature.info = "0: always the likeliest token, the same answer each time. Higher: more varied."
        with gr.Row():
            top_p = gr.Slider(0.05, 1, default.top_p, step=0.05, label="Top p")
            top_p.info = "Draws only from the likeliest tokens that together reach this share. No effect at temperature 0."
            seed = gr.Number(default.seed, precision=0, minimum=0, label="Seed")
            seed.info = "The same seed draws the same answer again; Regenerate takes the next one. No effect at temperature 0."
        answering = gr.CheckboxGroup(
            [*arms],
            value=[*arms],
            label="Who answers",
            info="All share one base in memory and one batch; fewer are faster.",
            visible=len(arms) > FEWEST_BLIND,
            elem_id="arms",
        )
    return cast("list[Component]", [most, temperature, top_p, seed, answering])


def view_fields(arms: Sequence[str]) -> tuple[gr.Checkbox, gr.Radio]:
    """Whether a question is blind, and what is marked in the answers."""
    blind = gr.Checkbox(
        False,
        label="Blind",
        info="Two answers, sides drawn by lot, names hidden until you have voted.",
        visible=len(arms) >= FEWEST_BLIND,
        elem_id="blind",
        min_width=240,
    )
    look = gr.Radio(
        [*LOOKS],
        value=LOOKS[0],
        label="Show",
        info="What differs, or how sure the model was of each token.",
        elem_id="look",
        min_width=240,
    )
    return blind, look


def settings_of(values: Sequence[object], arms: Sequence[str]) -> Settings:
    """What the fields say. Raises FinetuneError for an empty seed, or too few arms."""
    most, temperature, top_p, seed, answering, blind, look = values
    require(isinstance(seed, int), "The seed is empty: write a whole number, for example 0.")
    chosen = [arm for arm in arms if arm in cast("list[str]", answering)]
    require(chosen, "Nobody is to answer: choose who answers, under How the answer is drawn.")
    require(not blind or len(chosen) >= FEWEST_BLIND, "A blind question needs two who answer: choose one more, or switch Blind off.")
    sampling = Sampling(
        max_new_tokens=int(cast(float, most)),
        temperature=float(cast(float, temperature)),
        top_p=float(cast(float, top_p)),
        seed=cast(int, seed),
        others=OTHERS,
    )
    return Settings(sampling, chosen, bool(blind), cast(Look, look))
