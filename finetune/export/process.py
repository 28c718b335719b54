"""Work done in a process of its own: its memory is given back whole, and nothing of ours is in its way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

from finetune.errors import ExportError

REFUSED = "refused"


def in_fresh_process(module: str, task: BaseModel, scratch: Path) -> None:
    """Run `python -m module TASK` with the hub switched off; the task's file and the message of a refusal lie in `scratch`.

    Raises ExportError with that message (exit code 2), or when the system ended the process.
    """
    path = scratch / "task.json"
    path.write_text(task.model_dump_json(), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", module, str(path)], env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode == 2:
        raise ExportError((scratch / REFUSED).read_text(encoding="utf-8"))
    if done.returncode < 0:
        raise ExportError(
            f"a process of the export ({module}) was ended by signal {-done.returncode}, most often for lack of memory; "
            "free some, or write export.verify_tokens=64"
        )
    if done.returncode > 0:
        raise RuntimeError(f"{module} failed:\n{done.stderr}")
