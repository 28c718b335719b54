"""STEP sweep: one recipe, many overrides, a run for each, side by side.

sweep.grid, .runs or .search -> recipes, all checked -> a study in a database
-> build once, load the base once -> train, evaluate each -> runs/NAME/sweep.json, sweep.png, sweep.html

runs/NAME/study.db   what is to do, running and done; several processes may take from it (sweep.storage: another database)
runs/NAME/workers/   the processes that are at it
runs/NAME/r-4/       the run of adapter.r=4, complete: it can be compared, exported, opened in the playground
runs/NAME/r-16/
"""

from finetune.sweep.ranks import RankCorrelation, spearman
from finetune.sweep.report import SweepResult, SweepRow, read_result
from finetune.sweep.step import sweep
from finetune.sweep.table import table

__all__ = ["RankCorrelation", "SweepResult", "SweepRow", "read_result", "spearman", "sweep", "table"]
