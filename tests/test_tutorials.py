"""Tutorials run, reach their accuracy floor, and their notebooks are built from them."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))

# Enough for DeRes to beat a logistic regression by a wide margin, in less than a minute.
ROWS = "100000"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_runs(script, tmp_path):
    environment = os.environ | {
        "KERAS_CTR_CACHE": str(tmp_path / "cache"),
        "KERAS_CTR_TUTORIAL_ROWS": ROWS,
    }
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_notebook_is_built(script):
    """The cells of the notebook are those of the script: run `make notebooks` otherwise."""
    notebook = json.loads(script.with_suffix(".ipynb").read_text())
    built = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert built == list(cells(script.read_text()))
    assert not [cell for cell in notebook["cells"] if cell.get("outputs")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_badge_opens_this_notebook(script):
    text = script.read_text()
    owner = re.search(r'REPOSITORY = "https://github.com/([\w/-]+)"', text)[1]
    badge = re.search(r"\((https://colab.research.google.com/github/.*?)\)", text)[1]
    base = f"https://colab.research.google.com/github/{owner}/blob/main/tutorials"
    assert badge == f"{base}/{script.stem}.ipynb"


def cells(text):
    """Yields kind and source of the cells of a script in the percent format."""
    for part in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        head, _, source = part.partition("\n")
        if "[markdown]" in head:
            yield "markdown", re.sub(r"^# ?", "", source, flags=re.MULTILINE).strip("\n")
        else:
            yield "code", source.strip("\n")


def test_there_are_tutorials():
    assert [path.stem for path in SCRIPTS] == ["01_first_model"]
