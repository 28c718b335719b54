"""The notebooks as a reader runs them: opened in JupyterLab's own page, all cells run, looked at on the screen and on the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nbformat
import pytest
from watching import ROOT, bounded

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

# The Python whose JupyterLab is opened: this one, or that of a fresh install.
PYTHON = os.environ.get("OCTOTUNE_JUPYTER_PYTHON", sys.executable)
# What each notebook draws.
PICTURES = {"01_build_a_dataset": 2, "02_train_and_compare": 2, "03_read_a_sweep": 1, "04_merge_and_deploy": 1}
A_NOTEBOOK_S = 900
TOKEN = "reader"
FLAGS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"


class Lab(NamedTuple):
    """A JupyterLab that runs: its address, and the folder it shows."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def lab(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if subprocess.run([PYTHON, "-c", "import jupyterlab"], capture_output=True, check=False).returncode:
        pytest.skip(f"{PYTHON} has no JupyterLab; type: pip install -e '.[notebooks]' jupyterlab")
    shutil.copytree(ROOT / "notebooks", clone / "notebooks", dirs_exist_ok=True)
    home = tmp_path_factory.mktemp("home")
    settings = {name: str(home / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    command = [PYTHON, "-m", "jupyter", "lab", "notebooks", "--no-browser", "--allow-root", "--port=0", f"--IdentityProvider.token={TOKEN}"]
    # the sources of this checkout, as an editable install has them
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=clone, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        with bounded(process, seconds=120):
            said = next((line.split()[-1] for line in process.stderr if "http://127.0.0.1:" in line), "")
        assert said, "JupyterLab ended before it said where it is"
        # what it says further must not fill the pipe
        with subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL) as reader:
            yield Lab(said.split("/lab")[0], clone / "notebooks")
            process.terminate()
            process.wait(60)
            reader.wait(60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("no chromium on this machine; type: apt-get install chromium")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        yield started
        started.close()


def test_every_notebook_runs_in_jupyterlab(lab: Lab, browser: Browser) -> None:
    for name, pictures in PICTURES.items():
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        # a workspace of its own: the page opens again what was open in another
        page.goto(f"{lab.url}/lab/workspaces/{name}/tree/{name}.ipynb?token={TOKEN}")
        cells = run_all(page, lab.folder / f"{name}.ipynb")
        outputs = [output for cell in cells for output in cell.outputs]
        assert [output for output in outputs if output.output_type == "error"] == [], name
        assert all(cell.execution_count for cell in cells), name
        assert len([output for output in outputs if "image/png" in output.get("data", {})]) == pictures, name
        assert page.locator(".jp-OutputArea-output img[src^='data:image/png']").count() == pictures, name
        page.close()


def run_all(page: Page, path: Path) -> list[Any]:
    """The code cells on the disk once "Run All Cells" has come to its end, or to an error."""
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    last_cell = len([cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"])
    ended = page.locator(f".jp-InputPrompt:text-is('[{last_cell}]:'), .jp-OutputArea-output[data-mime-type*='error']")
    ended.first.wait_for(state="attached", timeout=1000 * A_NOTEBOOK_S)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    until = time.monotonic() + 60
    while path.stat().st_mtime_ns == before and time.monotonic() < until:
        page.wait_for_timeout(200)
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
