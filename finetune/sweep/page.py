"""A sweep as one HTML file that needs nothing beside it: opened from a disk, sent by mail, kept."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from finetune.sweep.report import SweepResult
from finetune.sweep.words import base_cells, cells, heads, notes

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #1c2430; background: #fff; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #d4d9e0; text-align: right; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
tr.base td { border-top: 2px solid #1c2430; }
.failed { color: #a11; }
img { max-width: 100%; }
"""


def page(result: SweepResult, picture: bytes | None) -> str:
    """The table, best first, the plot, what failed, and what the figures are worth."""
    title = escape(f"{result.folder.name}: {len(result.rows)} runs, by {'held-out loss' if result.by_loss else result.metric}")
    whole = [row for row in result.ranked() if row.error is None]
    rows = "".join(_row(cells(result, row)) for row in whole)
    base = _row(base_cells(result), "base") if any(row.metrics for row in whole) else ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads(result))
    alt = "Score over trained share, and over held-out loss; the figures are those of the table"
    image = "" if picture is None else f'<img src="data:image/png;base64,{b64encode(picture).decode()}" alt="{alt}">'
    failed = "".join(f'<li class="failed">{escape(row.name)}: {escape(row.error)}</li>' for row in result.rows if row.error is not None)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        f'<div class="wide" tabindex="0" role="region" aria-label="The runs"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{rows}{base}</tbody></table></div>\n{image}\n"
        f"{f'<h2>Failed</h2><ul>{failed}</ul>' if failed else ''}\n<h2>What this is worth</h2><ul>\n"
        f"{''.join(f'<li>{escape(note)}</li>' for note in notes(result))}\n"
        "<li>Intervals: 95 %, bootstrap over held-out files, paired by hole.</li></ul></body></html>\n"
    )


def _row(texts: Sequence[str], kind: str = "") -> str:
    classed = f' class="{kind}"' if kind else ""
    return f"<tr{classed}>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>\n"
