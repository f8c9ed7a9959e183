"""The command line, end to end on small generated data."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

import keras_ctr
from keras_ctr import _contents, cli, studies

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_CTR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def clicks(tmp_path):
    """A file of a user's own: the click depends on city and price."""
    rng = np.random.default_rng(0)
    city = rng.choice(["Rome", "Oslo", "Lima"], 2000)
    price = rng.normal(10, 3, 2000).round(2)
    click = (rng.random(2000) < 0.2 + 0.5 * (city == "Rome") * (price < 10)).astype(int)
    path = tmp_path / "clicks.csv"
    pl.DataFrame({"city": city, "price": price, "click": click}).write_csv(path)
    return path


def run(*arguments, **how):
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], **how)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_list_and_info():
    listed = json.loads(run("list", "--json"))
    assert [model["name"] for model in listed["models"]] == keras_ctr.zoo.names()
    assert listed["datasets"] == keras_ctr.datasets.names()
    assert listed["studies"] == studies.names()
    assert "deres" in run("list") and "lr" not in run("list", "--group", "sequence")
    assert json.loads(run("info", "dcnv2", "--json"))["arguments"]["num_layers"] == 3
    assert "2008.13535" in run("info", "dcnv2")


def test_group_and_weight_of_a_file(clicks, tmp_path):
    rng = np.random.default_rng(1)
    frame = pl.read_csv(clicks).with_columns(
        user=pl.Series(rng.integers(0, 200, 2000)), weight=pl.Series(rng.random(2000))
    )
    frame.write_csv(tmp_path / "weighted.csv")
    roles = ("--label", "click", "--group", "user", "--weight", "weight")
    folder = json.loads(run("prepare", tmp_path / "weighted.csv", *roles, "--json"))["folder"]
    train, valid, test = keras_ctr.datasets.load(folder)
    assert train.schema.group == "user" and train.schema.weight == "weight"
    assert "weight" not in train.schema.fields
    assert sum(part.weights.sum() for part in (train, valid, test)) == pytest.approx(
        frame["weight"].sum(), rel=1e-5
    )


def test_info_counts_parameters_and_flops(clicks):
    printed = " ".join(run("info", "lr").split())
    assert "On the example schema: 63 parameters" in printed
    assert "total per sample 30" in printed
    found = json.loads(run("info", "fm", "--set", "embedding_dim=4", "--json"))
    assert found["flops"]["total"] == sum(found["flops"]["parts"].values())
    assert found["parameters"] == 63 + 62 * 4
    folder = json.loads(run("prepare", clicks, "--label", "click", "--json"))["folder"]
    found = json.loads(run("info", "lr", "--data", folder, "--json"))
    assert found["parameters"] == 1 + 5 + 48 + 1  # bias; cities; pieces of the price, its bias
    assert found["flops"]["total"] == sum(found["flops"]["parts"].values())
    printed = " ".join(run("info", "lr", "--data", folder).split())
    assert f"On {found['data']}: 55 parameters" in printed


def test_prepare_train_evaluate_predict(clicks, tmp_path):
    model, results = tmp_path / "model.keras", tmp_path / "results.csv"
    common = ("fm", "--data", clicks, "--label", "click", "--set", "embedding_dim=4", "--json")
    options = ("--epochs", 2, "--batch-size", 256, "--save", model, "--results", results)
    for seed in (1, 2):
        row = json.loads(run("train", *common, *options, "--seed", seed))
    assert row["epochs"] == 2 and row["seed"] == 2
    assert row["backend"] == keras.backend.backend()
    table = pl.read_csv(results)
    assert table["seed"].to_list() == [1, 2] and table["auc"][1] == row["auc"]
    recorded = list(pathlib.Path(__file__).parents[1].glob("zoo/*/results.csv"))
    for path in recorded:  # or the command on a model's card would fail after its training
        assert pl.read_csv(path).columns == table.columns
    assert recorded

    folder = json.loads(run("prepare", clicks, "--label", "click", "--json"))["folder"]
    found = json.loads(run("evaluate", model, "--data", folder, "--json"))
    assert found["auc"] == pytest.approx(row["auc"], abs=1e-6)
    everything = json.loads(run("evaluate", model, "--data", clicks, "--json"))
    assert set(everything) == {"loss", "auc", "logloss", "rows", "part"}
    assert everything["rows"] == 2000 and everything["part"] == "all of clicks.csv"
    assert 150 < found["rows"] < 250 and found["part"] == "the test split"

    run("predict", model, clicks, "--output", tmp_path / "out.parquet")
    p = pl.read_parquet(tmp_path / "out.parquet")["probability"].to_numpy()
    labels = pl.read_csv(clicks)["click"].to_numpy()
    assert keras_ctr.metrics.auc(labels, p) == pytest.approx(everything["auc"], abs=1e-6)
    unlabelled = tmp_path / "unlabelled.csv"
    pl.read_csv(clicks).drop("click").write_csv(unlabelled)
    printed = run("predict", model, unlabelled).splitlines()
    assert printed[0] == "probability" and float(printed[1]) == pytest.approx(p[0], abs=1e-6)
    frame = pd.read_csv(unlabelled)
    net = keras_ctr.zoo.load(model)
    np.testing.assert_allclose(net.predict(frame, verbose=0)[:, 0], p, atol=1e-6)


def test_another_vocabulary_is_refused(clicks, tmp_path):
    """Equal sizes, other words: without the check the model would score other cities."""
    df = pl.read_csv(clicks)
    train, *_ = keras_ctr.datasets.from_pandas(df, label="click")
    renamed = df.with_columns(pl.col("city").replace("Rome", "Bonn"))
    other, *_ = keras_ctr.datasets.from_pandas(renamed, label="click")
    model = keras_ctr.zoo.get("lr").adapt(train)
    model.compile("adam")
    if other.schema == train.schema:
        with pytest.raises(ValueError, match="vocabulary.*'city'"):
            model.evaluate(other, verbose=0)
    same, *_ = keras_ctr.datasets.from_pandas(renamed, label="click", encoder=train.encoder)
    assert np.isfinite(model.evaluate(same, return_dict=True, verbose=0)["loss"])


def test_config_file(clicks, tmp_path):
    config = tmp_path / "fm.toml"
    config.write_text('recipe = "quick"\nepochs = 1\n[model]\nembedding_dim = 3\n')
    found = json.loads(
        run("train", "fm", "--data", clicks, "--label", "click", "--config", config, "--json")
    )
    assert found["epochs"] == 1
    config.write_text('recipe = "bars"\n[changes]\nepochs = 2\npatience = false\n')
    found = json.loads(
        run("train", "fm", "--data", clicks, "--label", "click", "--config", config, "--json")
    )
    assert found["epochs"] == 2 and found["recipe"] == "bars, epochs=2, patience=None"
    config.write_text("[changes]\npatiance = 3\n")
    with pytest.raises(ValueError, match="Did you mean 'patience'"):
        run("train", "fm", "--data", clicks, "--label", "click", "--config", config)
    config.write_text("epoch = 1\n")
    with pytest.raises(ValueError, match="Did you mean 'epochs'"):
        run("train", "fm", "--data", clicks, "--label", "click", "--config", config)


def test_demo_beats_logistic_regression_and_not_the_truth():
    found = json.loads(run("demo", "--rows", 3000, "--epochs", 1, "--json"))
    assert [row["model"] for row in found["models"]] == ["lr", "dcnv2", "deres"]
    assert all(0.4 < row["auc"] < found["bayes"]["auc"] for row in found["models"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "derez", "--data", "synthetic"], "Did you mean 'deres'"),
        (["train", "lr", "--data", "synthetik"], "Did you mean 'synthetic'"),
        (["train", "lr", "--data", "synthetic", "--option", "row=5"], "Did you mean 'rows'"),
        (["train", "lr", "--data", "synthetic", "--option", "rows"], "name=value"),
        (["train", "fm", "--data", "none.csv"], "no such file"),
        (["info", "dnnn"], "Did you mean 'dnn'"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    done = subprocess.run(
        [sys.executable, "-c", "from keras_ctr.cli import main; main()", *arguments],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and message in " ".join(done.stderr.split())


COMMANDS = ["list", "info", "prepare", "train", "study", "evaluate", "predict", "demo"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_printed_as_it_is_written(command):
    """Brackets, say, are no markup."""
    printed = " ".join(run(command, "--help", env={"COLUMNS": "400"}).split())
    known = {c.name or c.callback.__name__: c.callback for c in cli.app.registered_commands}
    helps = [
        note.help
        for hint in known[command].__annotations__.values()
        for note in getattr(hint, "__metadata__", ())
    ]
    for text in filter(None, helps):
        assert text.replace("\\[", "[") in printed
    if command == "train":
        assert "recipe, epochs, [model], [changes]." in printed


def test_errors_are_printed_as_they_are(clicks):
    done = subprocess.run(
        [sys.executable, "-c", "from keras_ctr.cli import main; main()"]
        + ["prepare", "no[model]file.csv", "--label", "click"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "no[model]file.csv" in done.stderr


LIGHT = {
    "list": ["list"],
    "info --help": ["info", "--help"],
    "prepare": ["prepare", "clicks.csv", "--label", "click", "--out", "out"],
}


@pytest.mark.parametrize("arguments", LIGHT.values(), ids=LIGHT)
def test_what_needs_no_backend_imports_none(arguments, clicks):
    code = (
        "import sys; from keras_ctr import cli; sys.argv = ['keras-ctr', *sys.argv[1:]]\n"
        "try: cli.app()\n"
        "finally: print([m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=clicks.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_lists_without_imports_are_those_of_the_packages():
    zoo = keras_ctr.zoo
    assert _contents.models() == {name: zoo.info(name)["summary"] for name in zoo.names()}
    assert _contents.studies() == studies.names()
    for group in ("sml", "din*", "sequence"):
        assert list(_contents.models(group)) == zoo.names(group)


IMPORTS = [
    "import keras_ctr, keras",
    "import keras, keras_ctr",
    "from keras_ctr import layers",
    "import keras_ctr.recipes",
    "from keras_ctr.zoo.deres import DeRes",
    "from keras_ctr import Dataset",
    "from keras_ctr import *",
]


@pytest.mark.parametrize("statement", IMPORTS)
def test_whatever_is_imported_first_keras_then_knows_all_classes(statement):
    show = "print(*(n for n in keras.saving.get_custom_objects() if n.startswith('keras_ctr')))"
    code = f"{statement}\nimport keras; {show}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    known = {n for n in keras.saving.get_custom_objects() if n.startswith("keras_ctr")}
    assert set(done.stdout.split()) == known and len(known) > 100, done.stderr


def test_synthesize(tmp_path):
    made = json.loads(run("synthesize", "avazu", "--rows", "50", "--path", tmp_path, "--json"))
    assert made["rows"] == 50 and 0.5 < made["bayes_auc"] < 1
    assert len((tmp_path / "train.csv").read_text().splitlines()) == 51
