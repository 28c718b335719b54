"""What a training run found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Losses are nats per learnt token: `loss` over the last fifth of the logged steps, at most ten of them, `valid_loss` on
    held-out rows, of the adapter that was kept, `valid_loss_before` at the start (the base model, where an adapter begins without
    effect); None without held-out rows. `tokens` went through the model, `trainable` of `total` numbers were trained, `share` of the
    blocks' linear weights has an adapter.
    """

    steps: int
    tokens: int
    loss: float
    valid_loss: float | None
    valid_loss_before: float | None
    seconds: float
    trainable: int
    total: int
    share: float
    kept_step: int | None = None  # whose adapter it is: the last step, or the best where the recipe asks for that
    fresh: bool = True  # False: an earlier training of the same recipe on the same data had made it


def table(result: TrainResult) -> Table:
    """The result for a terminal."""
    from rich.table import Table

    shown = Table(
        "what",
        "value",
        title="trained" if result.fresh else "already trained by this recipe on this data; nothing was done",
        title_justify="left",
    )
    kept = result.kept_step not in (None, result.steps)
    shown.add_row("optimizer steps", f"{result.steps:,}" + (f", of which the adapter of step {result.kept_step:,} is kept" if kept else ""))
    shown.add_row("tokens", f"{result.tokens:,} in {result.seconds:,.0f} s ({result.tokens / max(result.seconds, 1e-9):,.0f}/s)")
    shown.add_row("trained numbers", f"{result.trainable:,} of {result.total:,} ({result.trainable / result.total:.2%})")
    shown.add_row("linear weights with an adapter", f"{result.share:.1%}")
    shown.add_row("loss on training rows, at the end", f"{result.loss:.4f} nats/token")
    if result.valid_loss is not None and result.valid_loss_before is not None:
        shown.add_row("loss on held-out rows", f"{result.valid_loss_before:.4f} before, {result.valid_loss:.4f} after")
    return shown
