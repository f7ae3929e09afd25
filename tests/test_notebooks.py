"""The pages of docs/notebooks run from top to bottom as Jupyter notebooks, each in a kernel of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="the extra `test` is not installed")

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "notebooks"


@pytest.fixture(scope="module", params=["finetune_and_speak", "tokenise_and_listen"])
def notebook(request, tmp_path_factory):
    """A page's name, and the cells of Python of the notebook that it became, with what they showed."""
    folder = tmp_path_factory.mktemp("notebooks")
    command = [sys.executable, str(ROOT / "scripts" / "notebooks.py"), str(folder), request.param]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    made = json.loads((folder / f"{request.param}.ipynb").read_text(encoding="utf-8"))
    return request.param, [cell for cell in made["cells"] if cell["cell_type"] == "code"]


def shown(cells, kind):
    """All that the cells showed of a kind, such as text/html."""
    outputs = (output.get("data", {}) for cell in cells for output in cell["outputs"])
    return ["".join(data[kind]) for data in outputs if kind in data]


@pytest.mark.slow
def test_it_runs_and_shows_what_it_promises(notebook):
    """Every block is a cell that ran; there are sounds and a picture, and the last cell compares: True."""
    name, cells = notebook
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / f"{name}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert ["".join(cell["source"]) for cell in cells] == [block.rstrip("\n") for block in blocks]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    assert all("data:audio/" in page for page in shown(cells, "text/html"))
    assert len(shown(cells, "text/html")) >= 2
    assert len(shown(cells, "image/png")) == 1
    assert shown(cells[-1:], "text/plain") == ["True"]


def test_no_page_is_left_out():
    """Both are run here, and no output is committed."""
    pages = {path.name for path in PAGES.iterdir()}
    assert pages == {"finetune_and_speak.md", "tokenise_and_listen.md"}
