"""Every notebook of the documents runs from its first cell to its last."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from docsite.notebooks import NOTEBOOKS
from tests.project.docs.pages import ROOT

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))

EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.get("outputs", ()):
        print(output.get("text", ""))
"""


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_printed(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.slow(50)
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    for needed in ("nbclient", "nbformat", "ipykernel"):
        pytest.importorskip(needed)
    for entry in ROOT.iterdir():
        if entry.name not in ("work", ".git", ".venv"):
            (tmp_path / entry.name).symlink_to(entry)
    ran = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "JUPYTER_PLATFORM_DIRS": "1",
            # Whatever kernels the machine has, this environment's is run.
            **dict.fromkeys(("HOME", "IPYTHONDIR", "JUPYTER_DATA_DIR"), str(tmp_path / "home")),
        },
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
