"""One process tests one backend, chosen by KERAS_BACKEND; `make test` runs all three.

Tests marked `once` do not depend on the backend and run on PyTorch only, where nothing is compiled.
"""

import os
import pathlib

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]


def pytest_configure(config):
    config.addinivalue_line("markers", "once: independent of the backend, runs on PyTorch only")


def pytest_collection_modifyitems(config, items):
    if keras.backend.backend() != "torch":
        left_out = [item for item in items if item.get_closest_marker("once")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("once")]


def pytest_report_header():
    return f"keras {keras.__version__} on {keras.backend.backend()}"


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data():
    """Folder of the real data sets, outside the repository; tests skip where it is absent."""
    folder = pathlib.Path(os.environ.get("KERAS_CTR_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data are absent: no folder {folder.name}/ (set KERAS_CTR_DATA)")
    return folder
