"""The plan of the house: who may import whom, how long a file may be, what stands behind a door."""

import ast
import pathlib
import re
import tomllib

import keras
import pytest

import keras_ctr
from keras_ctr.backend import internals

pytestmark = pytest.mark.once

PACKAGE = pathlib.Path(keras_ctr.__file__).parent
FILES = sorted(PACKAGE.glob("**/*.py"))
GROUND = {"_cache", "_checks", "_config", "_contents", "_rooms", "_version", "_start"}
# Floors from the ground up: a room imports from its own floor or from those before it.
FLOORS = [
    GROUND,
    {"features", "backend"},
    {"datasets", "layers", "losses"},
    {"metrics", "optimizers"},
    {"training"},
    {"zoo"},
    {"measure"},
    {"experiments", "serving", "testing"},
    {"tabular"},
    {"cli"},
]


def module_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(path, whole=True):
    """Yields `(module, name, line)` of what a file imports of this package.

    `whole`: also inside functions, which is how circles are hidden.
    """
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if whole else tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_ctr"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (
                    (full, None, node.lineno)
                    if full in MODULES
                    else (
                        node.module,
                        alias.name,
                        node.lineno,
                    )
                )
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("keras_ctr"):
                    yield alias.name, None, node.lineno


def room(module):
    return module.split(".")[1] if "." in module else ""


def test_no_private_name_across_packages():
    wrong = []
    for path in FILES:
        here = module_of(path).split(".")
        for module, name, line in imports(path):
            parts = module.split(".") + ([name] if name else [])
            for at, part in enumerate(parts[1:], 1):
                if not part.startswith("_") or part in GROUND or part == "__version__":
                    continue
                if here[:at] != parts[:at]:  # private to the package that holds it
                    wrong.append(f"{path.name}:{line} {'.'.join(parts)}")
    assert not wrong


def test_no_import_circle():
    graph = {
        module: {found for found, _, _ in imports(path, whole=False)} - {module, "keras_ctr"}
        for module, path in MODULES.items()
    }
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, " -> ".join([*open_[open_.index(module) :], module])
        if module in done or module not in graph:
            return
        open_.append(module)
        for other in sorted(graph[module]):
            # A module of a room imports its siblings, not the room's own table of contents.
            if not module.startswith(f"{other}."):
                visit(other)
        open_.pop()
        done.add(module)

    for module in sorted(graph):
        visit(module)
    assert len(done) > 150


def test_floors():
    floor = {name: at for at, names in enumerate(FLOORS) for name in names}
    wrong, seen = [], set()
    for path in FILES:
        here = room(module_of(path))
        if not here:
            continue
        seen.add(here)
        for module, name, line in imports(path, whole=False):
            there = room(module) or name
            if there in floor and floor[there] > floor[here]:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} {there}")
    assert not wrong
    assert seen <= set(floor)


def test_no_file_holds_two_ideas():
    lines = {path.relative_to(PACKAGE): len(path.read_text().splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > 450} == {}
    assert lines[pathlib.Path("zoo/_base.py")] <= 300


def test_a_layer_has_a_file_of_its_own():
    for path in sorted((PACKAGE / "layers").rglob("*.py")):
        classes = [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ClassDef) and "NamedTuple" not in map(ast.unparse, node.bases)
        ]
        assert len(classes) <= 1, f"{module_of(path)} holds {classes}"


def test_features_and_stores_know_no_keras():
    for folder in ("features", "datasets/_raw", "datasets/_shards"):
        for path in (PACKAGE / folder).glob("*.py"):
            assert not re.search(r"^\s*(import|from) keras\b", path.read_text(), re.M), path


def test_private_names_of_keras_exist_and_stand_in_one_module():
    for name in internals.NAMES:
        used = [path.name for path in FILES if re.search(rf"\.{name}\b", path.read_text())]
        assert used == ["internals.py"], name
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss="mse")
    absent = [name for name in internals.NAMES if not hasattr(model, name)]
    jax_only = ["_update_metrics_variables"]
    assert absent == ([] if keras.backend.backend() == "jax" else jax_only)


def test_the_bound_on_keras_is_that_of_the_keras_tested():
    """What is private to Keras may go with any release: the bound rises when the tests have run."""
    pyproject = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    [bound] = [d for d in pyproject["project"]["dependencies"] if d.startswith("keras")]
    lowest, above = re.fullmatch(r"keras>=(\d+\.\d+),<(\d+\.\d+)", bound).groups()
    major, minor, *_ = keras.__version__.split(".")
    assert f"{major}.{int(minor) + 1}" == above and lowest <= f"{major}.{minor}"


def test_old_module_names_are_importable():
    import keras_ctr.encoder
    import keras_ctr.plots
    import keras_ctr.recipes
    import keras_ctr.schema
    import keras_ctr.studies

    assert keras_ctr.recipes.get("bars").name == "bars"
    assert keras_ctr.schema.Schema is keras_ctr.Schema
    assert keras_ctr.encoder.Encoder is keras_ctr.Encoder
