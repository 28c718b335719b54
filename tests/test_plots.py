from __future__ import annotations

from finetune.plots import comparison_plot, loss_plot
from finetune.records import Comparison, Estimate


def test_a_loss_plot_is_a_picture_and_the_same_every_time() -> None:
    train, valid = [(1, 3.0), (2, 2.5), (3, 2.4)], [(0, 3.1), (3, 2.6)]
    first = loss_plot(train, valid)
    assert first.startswith(b"\x89PNG") and first == loss_plot(train, valid)
    assert first != loss_plot(train, [])


def test_a_comparison_plot_has_a_panel_for_each_metric() -> None:
    shown = Comparison(Estimate(0.2, 0.1, 0.3, 50), Estimate(0.5, 0.4, 0.6, 50), Estimate(0.3, 0.2, 0.4, 50))
    one, two = comparison_plot([("exact", shown)]), comparison_plot([("exact", shown), ("edit", shown)])
    assert one.startswith(b"\x89PNG") and len(two) > len(one)
