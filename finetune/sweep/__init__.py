"""STEP sweep: one recipe, a product of overrides, a run for each, side by side.

sweep.grid -> recipes, all checked -> build once -> train, evaluate each -> runs/NAME/sweep.json, sweep.png

runs/NAME/r-4/     the run of adapter.r=4, complete: it can be compared, exported, opened in the playground
runs/NAME/r-16/
"""

from finetune.sweep.report import SweepResult, SweepRow, read_result
from finetune.sweep.step import sweep
from finetune.sweep.table import table

__all__ = ["SweepResult", "SweepRow", "read_result", "sweep", "table"]
