from __future__ import annotations

from finetune.plots import loss_plot


def test_a_loss_plot_is_a_picture_and_the_same_every_time() -> None:
    train, valid = [(1, 3.0), (2, 2.5), (3, 2.4)], [(0, 3.1), (3, 2.6)]
    first = loss_plot(train, valid)
    assert first.startswith(b"\x89PNG") and first == loss_plot(train, valid)
    assert first != loss_plot(train, [])
