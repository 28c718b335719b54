"""A function is compiled also where nothing can be kept on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_MODULE = """
from finetune.compiled import compiled

@compiled
def doubled(x):
    return 2 * x
"""


def test_without_a_folder_to_write_to_it_is_compiled_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(_MODULE)
    (tmp_path / "__pycache__").write_text("no folder")
    program = "import module; assert module.doubled(21) == 42; assert module.doubled.nopython_signatures"
    alone = {"PATH": "/usr/bin:/bin", "HOME": "/proc", "PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}"}
    subprocess.run([sys.executable, "-B", "-c", program], env=alone, check=True)
