"""What tests of the playground in a real browser are marked with."""

from __future__ import annotations

import pytest

# gradio leaves event loops and sockets to the collector; the fixture `serve` collects what is left after a test.
LEFT_OPEN = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
IN_A_BROWSER = [
    pytest.mark.browser,
    LEFT_OPEN,
    # gradio 6.31 counts its queue with two things that pandas 3 has deprecated.
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]
