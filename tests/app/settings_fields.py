"""The fields that say how answers are drawn, as a reader fills them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_IDLE = "() => new Promise(done => requestIdleCallback(() => requestIdleCallback(done)))"


def open_settings(tab: Page) -> None:
    """Opens them and waits until they hold still: gradio 6.31 sets a field to its first value once more just after it has appeared."""
    tab.get_by_role("button", name="How the answer is drawn").click()
    tab.get_by_label("Seed").wait_for()
    tab.evaluate(_IDLE)


def set_numbers(tab: Page, **values: str) -> None:
    """Fills in the fields named by their labels, `_` for a space."""
    open_settings(tab)
    for name, value in values.items():
        tab.get_by_role("spinbutton", name=name.replace("_", " ")).fill(value)
