"""The real size, once: minutes of both cores, 10 GB of memory and 7 GB of disk."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "qlora_3b.py"


@pytest.mark.slow
def test_the_3b_shape_does_a_qlora_step_in_ten_and_a_half_gigabytes() -> None:
    done = subprocess.run([sys.executable, str(BENCHMARK)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert math.isfinite(found["loss"])
    assert found["trainable"] == 2 * 11_919_360
    assert found["peak_memory_gb"] < 10.5
