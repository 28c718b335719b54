"""Metrics."""

from __future__ import annotations

from finetune.registry import Plugin, Registry


class Metric(Plugin):
    """Scores one answer."""


METRICS: Registry[Metric] = Registry("metric", Metric)


def default_metrics() -> tuple[Metric, ...]:
    return tuple(cls() for _, cls in METRICS)
