"""What is written is true: pages run, tables are fresh, both sides of the mirror agree."""

import contextlib
import doctest
import importlib
import importlib.util
import inspect
import io
import os
import pathlib
import pkgutil
import re
import shlex

import numpy as np
import pytest

import keras_ctr
from keras_ctr import cli, datasets, recipes, testing, zoo

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(keras_ctr.__path__, "keras_ctr.")
    if module.name.split(".")[-1] != "__main__"
]
PUBLIC = [name for name in MODULES if not any(p.startswith("_") for p in name.split("."))]
SETTINGS = sorted(path for path in ROOT.glob("zoo/*/*.toml") if path.stem in datasets.names())


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    """Runs a test in an empty folder, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_CTR_CACHE", str(tmp_path / "cache"))
    return tmp_path


def blocks(page, language):
    """The fenced blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


# Pages run


def test_readme_runs(sandbox, monkeypatch):
    """Every Python block of README.md, in order, in one session.

    Frappe is trained for a few steps, or generated rows take its place where it is absent.
    """
    first, *others = blocks("README.md", "python")
    folder = pathlib.Path(os.environ.get("KERAS_CTR_DATA", ROOT.parent / "shared" / "data"))
    monkeypatch.setenv("KERAS_CTR_DATA", str(folder))
    changes = {"epochs=3": "epochs=1, steps_per_epoch=2"}
    if not (folder / "frappe_x1").is_dir():
        changes['load("frappe_x1")'] = 'load("synthetic", rows=2000)'
    for old, new in changes.items():
        assert first.count(old) == 1
        first = first.replace(old, new)
    scope = {}
    for code in (first, *others):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, "README.md", "exec"), scope)
    assert len(others) == 6
    assert (sandbox / "clicks.onnx").stat().st_size > 0
    assert (sandbox / "deres.keras").stat().st_size > 0


def test_readme_commands_exist():
    """Every `keras-ctr` command of README.md and of the cards, with its options."""
    pages = ["README.md", *(f"zoo/{name}/README.md" for name in zoo.names())]
    lines = [line for page in pages for part in blocks(page, "sh") for line in part.splitlines()]
    commands = [line.partition("keras-ctr ")[2] for line in lines if "keras-ctr " in line]
    for command in commands:
        check_command(command)
    assert len(commands) >= 8 + len(zoo.names())


def check_command(command):
    """Checks names and options of a command line, without running it."""
    import typer

    name, *words = shlex.split(command, comments=True)
    known = typer.main.get_command(cli.app).commands
    assert name in known, f"no command {name}"
    options = {flag for parameter in known[name].params for flag in parameter.opts}
    for word in words:
        assert not word.startswith("--") or word in options, f"{name} has no option {word}"
    if name in ("info", "train"):
        assert words[0] in zoo.names()


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, sandbox):
    module = importlib.import_module(name)
    schema = testing.example_schema()
    given = {
        "keras_ctr": keras_ctr,
        "schema": schema,
        "batch": testing.example_batch(schema, rows=4)[0],
        "np": np,
    }
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for example in doctest.DocTestFinder().find(module, extraglobs=given):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


def test_every_model_has_an_example():
    for name in zoo.names():
        assert ">>> " in inspect.getdoc(zoo.MODELS[name]), name


# Every public thing has a docstring


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings(name):
    module = importlib.import_module(name)
    things = [
        (key, thing)
        for key, thing in vars(module).items()
        if not key.startswith("_") and getattr(thing, "__module__", None) == name
    ]
    missing = [] if module.__doc__ or not things or is_one_class(things) else [name]
    for key, thing in things:
        if not inspect.isclass(thing) and not inspect.isfunction(thing):
            continue
        if not thing.__doc__:
            missing.append(f"{name}.{key}")
        if inspect.isclass(thing):
            missing += [f"{name}.{key}.{method}" for method in undocumented(thing)]
    assert not missing


def is_one_class(things):
    """A file with one layer is described by the layer's docstring."""
    return any(inspect.isclass(thing) and thing.__doc__ for _, thing in things)


def undocumented(cls):
    """Names of public methods without a docstring, except those a base class describes."""
    inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
    for name, member in vars(cls).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if name.startswith("_") or name in inherited or not inspect.isfunction(function):
            continue
        if not function.__doc__:
            yield name


# Cards and tables


def test_mirror_of_zoo():
    files = {path.stem for path in (ROOT / "keras_ctr" / "zoo").glob("[!_]*.py")}
    folders = {path.name for path in (ROOT / "zoo").iterdir() if (path / "README.md").is_file()}
    assert files == folders == set(zoo.names())


def test_mirror_of_datasets():
    files = {place.partition(":")[0].rpartition(".")[2] for place in datasets.SOURCES.values()}
    folders = {p.name for p in (ROOT / "datasets").iterdir() if (p / "README.md").is_file()}
    assert files == folders == set(datasets.names())


def test_evidence_folders_are_no_packages():
    """An importable top-level `datasets` would hide Hugging Face's package of that name."""
    assert not [path for top in ("zoo", "datasets") for path in (ROOT / top).rglob("__init__.py")]


@pytest.mark.parametrize("name", zoo.names())
def test_module_names_its_card(name):
    doc = inspect.getmodule(zoo.MODELS[name]).__doc__
    assert f"zoo/{name}/README.md" in doc


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build", ROOT / "zoo" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_fresh(build, capsys):
    assert build.main(["--check"]) == 0, f"run `make cards`:\n{capsys.readouterr().out}"


def test_status_is_derived(build, tmp_path, monkeypatch):
    """No rows: untested; a mean within 0.001 of a published number: reproduced; else: runs."""
    monkeypatch.setattr(build, "ROOT", tmp_path)
    folder = tmp_path / "zoo" / "fm"
    folder.mkdir(parents=True)
    (folder / "published.toml").write_text(
        '[[published]]\ndata = "d"\nby = "B"\nauc = 0.8\nlogloss = 0.4\nruns = 1\nsource = "u"\n'
    )
    header = "model,data,recipe,seed,backend,auc,logloss,parameters\n"
    assert build.status("fm") == "untested"
    (folder / "results.csv").write_text(header + "fm,d,bars,1,jax,0.8030,0.4,10\n")
    assert build.status("fm") == "runs"
    with open(folder / "results.csv", "a") as file:
        file.write('fm,d,"bars, patience=5",1,jax,0.8000,0.4,10\n')
    assert build.status("fm") == "runs"  # reached, but not by the recipe of the others
    (folder / "results.csv").write_text(header + "fm,d,bars,1,jax,0.8030,0.4,10\n")
    with open(folder / "results.csv", "a") as file:
        file.write("fm,d,bars,2,torch,0.7978,0.4,10\n")
    assert build.status("fm") == "reproduced"
    (result,) = build.measured("fm")
    assert (result["runs"], result["backends"]) == (2, "jax, torch")
    np.testing.assert_allclose([result["auc"], result["std"]], [0.8004, 0.0052 / 2**0.5])
    with open(folder / "results.csv", "a") as file:
        file.write("fm,d,bars,3")
    with pytest.raises(ValueError, match="incomplete"):
        build.measured("fm")


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_settings_build_and_name_their_command(path):
    model, data = path.parent.name, path.stem
    first = path.read_text().splitlines()[0]
    relative = path.relative_to(ROOT).as_posix()
    assert first.startswith(f"# keras-ctr train {model} --data {data} --config {relative} ")
    check_command(first.removeprefix("# keras-ctr "))
    settings = cli.read_config(path)
    recipe = recipes.get(settings["recipe"], data=data)
    net = recipe.get(model, **settings.get("model", {})).adapt(testing.example_schema())
    assert net.built


# Nothing about the machine it was written on


def test_no_machine_paths():
    """Folders of a work machine have no place in the project."""
    machine = re.compile(r"(?<![\w.>/])/(?:work|tmp|root|home)/")
    tops = ["keras_ctr", "zoo", "datasets", "tutorials", "tests", ".ci"]
    files = [path for top in tops for path in (ROOT / top).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    kinds = {".py", ".md", ".toml", ".csv", ".json", ".ipynb", ".txt", ""}
    texts = [path for path in files if path.suffix in kinds and path != pathlib.Path(__file__)]
    found = [str(path.relative_to(ROOT)) for path in texts if machine.search(path.read_text())]
    assert len(texts) > 50
    assert not found
