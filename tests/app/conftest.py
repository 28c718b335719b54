"""The page over a completer that needs no model, in a real browser."""

from __future__ import annotations

import gc
import shutil
import socket
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from fake_completer import FakeCompleter

from finetune.records import Completer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or ""
# No sandbox: tests also run as root. The rest keeps the browser itself from calling out.
FLAGS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"


@pytest.fixture
def completer() -> FakeCompleter:
    return FakeCompleter()


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a page on a free port of this machine and gives its address."""
    from app import ui

    pages = []

    def start(completer: Completer, *, auth: tuple[str, str] | None = None, **options: Any) -> str:
        pages.append(ui.playground(completer, title="base demo against runs/demo (lora)", **options))
        return ui.open_page(pages[-1], host="127.0.0.1", port=unused_port(), auth=auth)

    yield start
    for page in pages:
        page.close(verbose=False)
    pages.clear()
    # gradio and its server leave event loops and sockets to the collector; it must not be another test that trips over them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("no chromium on this machine; type: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield started
        started.close()


@pytest.fixture
def tab(browser: Browser, serve: Serve) -> Iterator[Page]:
    """A fresh tab, whose console must stay without errors and which must ask nobody but this machine.

    It is closed before its server ends (`serve`), which it would rightly complain of.
    """
    faults: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(120_000)  # the first answer waits for the model, whose libraries may be read from a cold disk
    page.on("console", lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("request", lambda request: None if is_local(request.url) else faults.append(f"request: {request.url}"))
    yield page
    context.close()
    assert faults == []


def unused_port() -> int:
    """One that the system hands out, so that no other process that looks for the playground's first free port takes it meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:"))
