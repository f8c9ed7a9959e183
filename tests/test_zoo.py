"""Every model of the zoo through the same contract, on the backend at hand."""

import itertools
import json
import os
import pathlib
import subprocess
import sys

import exchange
import keras
import numpy as np
import polars as pl
import pytest
from keras import ops

import keras_ctr
from keras_ctr import Categorical, Numeric, Schema, Sequence, layers, testing, zoo
from keras_ctr.layers import residuals

HERE = pathlib.Path(__file__).parent

GOLDEN = HERE / "golden_parameters.json"  # parameters at the defaults, on the example schema
# Which backend saves what one reloads: a ring, so that each saves and each reloads once.
SAVED_BY = {"jax": "torch", "torch": "tensorflow", "tensorflow": "jax"}
ran = {"check_model": set(), "reloaded": set()}


@pytest.mark.parametrize("name", zoo.names())
def test_contract(name):
    testing.check_model(name, **exchange.SMALL[name])
    ran["check_model"].add(name)


@pytest.mark.parametrize("name", ["dcnv2", "din", "deres"])
def test_compiled_steps_in_half_precision(name):
    """Those of the contract are taken one by one on TensorFlow."""
    batch, label = testing.example_batch(testing.example_schema())
    model = zoo.get(name, dtype="mixed_bfloat16", **exchange.SMALL[name])
    model.adapt(testing.example_schema()).compile(keras.optimizers.Adam(0.01))
    loss = model.fit(batch, label, batch_size=64, epochs=5, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    found, called = (
        model.predict(batch, batch_size=64, verbose=0),
        testing.probabilities(model, batch),
    )
    np.testing.assert_allclose(found, called, atol=0.02)


SCHEMAS = {
    "quantities": Schema([Numeric("price"), Numeric("age")]),
    "names": Schema([Categorical("user", 5), Categorical("item", 4)]),
    "a name and its history": Schema([Categorical("item", 4), Sequence("seen", "item", 3)]),
}


@pytest.mark.once
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(
    ("name", "columns"),
    [
        (name, columns)
        for name, columns in itertools.product(zoo.names(), SCHEMAS)
        if (name, columns) != ("dlrm", "quantities")  # refuses, and has a test of that
    ],
)
def test_any_two_columns_will_do(name, columns):
    batch, label = testing.example_batch(SCHEMAS[columns])
    config = exchange.SMALL[name] | ({"contexts": (None, None)} if name == "finalmlp" else {})
    model = zoo.get(name, **config).adapt(SCHEMAS[columns])
    model.compile(keras.optimizers.Adam(0.01))
    loss = model.fit(batch, label, batch_size=64, verbose=0).history["loss"]
    p = model.predict(batch, verbose=0)
    assert np.isfinite(loss).all() and p.shape == (64, 1) and p.std() > 0


@pytest.fixture(scope="session")
def saved_elsewhere(tmp_path_factory):
    """Folder with every model as another backend has saved it."""
    folder = tmp_path_factory.mktemp("saved")
    subprocess.run(
        [sys.executable, str(HERE / "exchange.py"), str(folder)],
        env={**os.environ, "KERAS_BACKEND": SAVED_BY[keras.backend.backend()]},
        check=True,
        timeout=1200,
    )
    return folder


@pytest.mark.parametrize("name", zoo.names())
def test_reloads_from_another_backend(name, saved_elsewhere):
    folder = saved_elsewhere
    model = zoo.load(folder / f"{name}.keras")
    batch, _ = testing.example_batch(testing.example_schema())
    expected = np.load(folder / f"{name}.npy")
    assert expected.std() > 1e-3
    np.testing.assert_allclose(testing.probabilities(model, batch), expected, atol=1e-5)
    assert str(keras_ctr.flops(model)) == (folder / f"{name}.flops").read_text()
    twin = zoo.get(name, **exchange.SMALL[name]).adapt(testing.example_schema())
    twin.load_weights(folder / f"{name}.weights.h5")
    for one, other in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    ran["reloaded"].add(name)


def test_every_model_went_through_every_check():
    """Guards against a filter that silently leaves models out. Needs the tests above."""
    if not ran["check_model"]:
        pytest.skip("the contract tests were deselected")
    assert ran["check_model"] == set(zoo.names())
    assert len(ran["check_model"]) == len(zoo.MODELS) == len(exchange.SMALL)
    assert ran["reloaded"] == set(zoo.names())
    print(f"\n{len(ran['check_model'])} models checked on {keras.backend.backend()}")


@pytest.mark.once
def test_golden_parameter_counts():
    """Sizes at the defaults. After a deliberate change: KERAS_CTR_GOLDEN=1 pytest -k golden."""
    counts = {
        name: zoo.get(name).adapt(testing.example_schema()).count_params() for name in zoo.names()
    }
    if os.environ.get("KERAS_CTR_GOLDEN"):
        GOLDEN.write_text(json.dumps(counts, indent=2) + "\n")
    assert counts == json.loads(GOLDEN.read_text())


def test_golden_counts_by_hand():
    """FM: a bias, and for every row 1 + D; LR: the same with D = 0."""
    schema = Schema([Categorical("a", 7), Categorical("b", 5)])
    assert zoo.get("lr").adapt(schema).count_params() == 1 + 12
    assert zoo.get("fm", embedding_dim=3).adapt(schema).count_params() == 1 + 12 * 4


class TestFrontDoor:
    def test_unknown_names(self):
        with pytest.raises(ValueError, match="Did you mean 'deres'"):
            zoo.get("deress")
        with pytest.raises(ValueError, match="Did you mean 'hidden_units'.*embedding_dim"):
            zoo.get("dnn", hidden_unit=[3])
        with pytest.raises(ValueError, match="Did you mean 'sml'"):
            zoo.names("smll")
        with pytest.raises(ValueError, match="Did you mean 'bars'"):
            keras_ctr.recipes.get("bar")

    def test_info_and_groups(self):
        info = zoo.info("deres")
        assert info["class"] == "keras_ctr.zoo.DeRes" and "2606.07980" in info["reference"]
        assert info["arguments"]["num_layers"] == 4
        for group in zoo.GROUPS:
            assert set(zoo.names(group)) <= set(zoo.names())

    def test_config_is_the_signature(self):
        tower = layers.MLP([4], dropout=0.5)
        model = zoo.get("dcnv2", num_layers=2, tower=tower)
        again = type(model).from_config(model.get_config())
        assert again.get_config() == model.get_config()
        assert (again.num_layers, again.name, again.deep.dropout) == (2, "dcnv2", 0.5)

    def test_composed_models_are_saved(self, tmp_path):
        schema = testing.example_schema()
        batch, _ = testing.example_batch(schema)
        small = exchange.SMALL
        composed = [
            zoo.get("dcnv2", embedding_dim=4, cross=layers.CrossMixture(2, 3, 2)),
            zoo.get("dnn", embedding_dim=4, tower=layers.MLP([4], "silu", batch_norm=True)),
            zoo.get("onetrans", **small["onetrans"], residual=residuals.attnres(1)),
            zoo.get("deres", **small["deres"], granularity="sublayer", causal=False),
        ]
        for model in composed:
            model.adapt(schema)
            model.save(tmp_path / "model.keras")
            np.testing.assert_array_equal(
                zoo.load(tmp_path / "model.keras").predict(batch, verbose=0),
                model.predict(batch, verbose=0),
            )

    def test_load_never_unpickles(self, tmp_path):
        import pickle
        import zipfile

        model = zoo.get("lr").adapt(testing.example_schema())
        path = tmp_path / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
        assert not [name for name in names if name.endswith((".pkl", ".pickle"))]
        path.write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(ValueError):
            zoo.load(path)


class TestAdapt:
    def test_without_a_schema_the_error_says_adapt(self):
        batch, label = testing.example_batch(testing.example_schema())
        model = zoo.get("lr")
        model.compile("adam")
        for call in (lambda: model.fit(batch, label), lambda: model.predict(batch)):
            with pytest.raises(ValueError, match="adapt"):
                call()
        with pytest.raises(ValueError, match="adapt.*Received: list"):
            model.adapt([1, 2])
        with pytest.raises(ValueError, match="size.*user"):
            model.adapt(Schema([Categorical("user")]))

    def test_another_schema_is_refused_by_name(self):
        model = zoo.get("lr").adapt(testing.example_schema())
        assert model.adapt(testing.example_schema()) is model
        with pytest.raises(ValueError, match="'user'"):
            model.adapt(testing.example_schema().resized({"user": 31}))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda b: b.pop("values"), "values"),
            (lambda b: b.update(more=b["ids"]), "more"),
            (lambda b: b.update(ids=b["ids"][:, :2]), r"\(N, 3\)"),
            (lambda b: b.update(ids=b["ids"].astype("float32")), "int32"),
            (lambda b: b["ids"].__setitem__((5, 1), 20), r"'item'.*\[0, 20\).*row 5"),
            (lambda b: b["ids"].__setitem__((3, 0), -1), r"'user'.*row 3"),
            (lambda b: b["history"].__setitem__((2, 4), 99), "'history'.*row 2"),
        ],
    )
    def test_bad_arrays_are_refused_before_the_first_step(self, change, message):
        schema = testing.example_schema()
        batch, label = testing.example_batch(schema)
        change(batch)
        model = zoo.get("lr").adapt(schema)
        model.compile("adam")
        for call in (
            lambda: model.fit(batch, label, verbose=0),
            lambda: model.predict(batch, verbose=0),
            lambda: model.evaluate(batch, label, verbose=0),
        ):
            with pytest.raises(ValueError, match=message):
                call()


class TestEvaluate:
    @pytest.fixture
    def setting(self):
        schema = testing.example_schema()
        batch, label = testing.example_batch(schema, rows=100)
        model = zoo.get("fm", embedding_dim=4).adapt(schema)
        for weight in model.trainable_weights:  # spread predictions: no ties to be broken by chance
            weight.assign(weight + 0.5 * keras.random.normal(weight.shape))
        model.compile("adam", metrics=["auc", "logloss", "calibration", "binary_accuracy"])
        return model, batch, label

    def test_is_exact_and_independent_of_batches(self, setting):
        model, batch, label = setting
        p = model.predict(batch, batch_size=7, verbose=0)
        found = model.evaluate(batch, label, batch_size=7, return_dict=True, verbose=0)
        whole = model.evaluate(batch, label, return_dict=True, verbose=0)
        assert found == pytest.approx(whole, rel=1e-5)
        assert found["auc"] == keras_ctr.metrics.auc(label, p)
        assert found["loss"] == pytest.approx(keras_ctr.metrics.log_loss(label, p), rel=1e-5)
        assert found["binary_accuracy"] == pytest.approx(np.mean((p > 0.5) == label))
        assert list(found) == ["loss", "binary_accuracy", "auc", "logloss", "calibration"]

    def test_weights(self, setting):
        model, batch, label = setting
        weights = np.arange(100, dtype="float32") / 50
        found = model.evaluate(batch, label, sample_weight=weights, return_dict=True, verbose=0)
        p = model.predict(batch, verbose=0)
        assert found["auc"] == keras_ctr.metrics.auc(label, p, weights)

    def test_any_iterable_of_batches(self, setting):
        model, batch, label = setting
        expected = model.evaluate(batch, label, return_dict=True, verbose=0)

        def batches():
            for rows in np.array_split(np.arange(100), 3):
                yield {key: array[rows] for key, array in batch.items()}, label[rows]

        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 3

            def __getitem__(self, index):
                return list(batches())[index]

        for data in (batches(), Batches()):
            found = model.evaluate(data, return_dict=True, verbose=0)
            assert found == pytest.approx(expected, rel=1e-5)

    def test_a_shuffled_data_set_keeps_rows_and_labels_together(self):
        rng = np.random.default_rng(0)
        df = {"a": rng.integers(0, 9, 500), "g": rng.integers(0, 30, 500)}
        df["click"] = (df["a"] > 4).astype(int)
        train, *_ = keras_ctr.datasets.from_pandas(
            pl.DataFrame(df), label="click", group="g", valid=0, test=0, batch_size=64
        )
        model = zoo.get("lr")
        model.compile(keras.optimizers.Adam(0.1), metrics=["auc", "gauc"])
        model.fit(train, epochs=5, verbose=0)
        found = model.evaluate(train, return_dict=True, verbose=0)
        p = model.predict(train, verbose=0)
        assert found["auc"] == keras_ctr.metrics.auc(train.labels, p) > 0.99
        assert found["gauc"] == keras_ctr.metrics.gauc(train.labels, p, train.groups) > 0.99

    def test_during_fit(self, setting):
        model, batch, label = setting
        history = model.fit(
            batch, label, epochs=2, validation_data=(batch, label), verbose=0, batch_size=50
        ).history
        expected = model.evaluate(batch, label, return_dict=True, verbose=0)
        assert history["val_auc"][-1] == pytest.approx(expected["auc"], abs=1e-6)
        assert "binary_accuracy" in history and "auc" not in history

    def test_table_l2_is_half_the_squared_norm(self, setting):
        model, batch, label = setting
        model.compile("adam")
        plain = model.evaluate(batch, label, return_dict=True, verbose=0)
        model.compile("adam", table_l2=0.5)
        found = model.evaluate(batch, label, return_dict=True, verbose=0)
        squares = sum(
            np.sum(ops.convert_to_numpy(w) ** 2) for e in model.embeddings for w in e.weights
        )
        assert found["loss"] - plain["loss"] == pytest.approx(0.25 * squares, rel=1e-3, abs=1e-7)
        assert found["logloss"] == plain["logloss"]

    def test_compile_settings_are_saved(self, setting, tmp_path):
        model, batch, label = setting
        model.compile(keras.optimizers.Adam(0.02), metrics=["auc"], table_l2=0.5)
        model.fit(batch, label, verbose=0, batch_size=100)
        model.save(tmp_path / "model.keras")
        again = zoo.load(tmp_path / "model.keras")
        assert again.table_l2 == 0.5 and int(again.optimizer.iterations) == 1
        assert again.evaluate(batch, label, return_dict=True, verbose=0) == pytest.approx(
            model.evaluate(batch, label, return_dict=True, verbose=0)
        )


def test_deres_starts_as_onetrans():
    """With the same weights in both, before any training (residuals.deres is silent at first)."""
    schema = testing.example_schema()
    batch, _ = testing.example_batch(schema)
    small = exchange.SMALL["onetrans"]
    plain = zoo.get("onetrans", **small).adapt(schema)
    deres = zoo.get("deres", **small).adapt(schema)
    own = {id(v) for v in deres.depth.variables}
    shared = [w for w in deres.weights if id(w) not in own]
    for weight, value in zip(shared, plain.get_weights(), strict=True):
        weight.assign(value)
    np.testing.assert_allclose(
        deres.predict(batch, verbose=0), plain.predict(batch, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_residual_map(tmp_path):
    schema = testing.example_schema()
    batch, _ = testing.example_batch(schema)
    model = zoo.get("deres", **exchange.SMALL["deres"]).adapt(schema)
    model.depth.second.query.assign(model.depth.second.query + 1.0)
    found = model.residual_map(batch)
    assert [w.shape[-1] for w in found["weights"]] == [1, 2, 3]  # a new block at every site
    assert [g.shape for g in found["gate"]] == [(8,)] * 3
    np.testing.assert_array_equal(found["gate"], 0.5)
    assert min(w.min() for w in found["weights"]) < 0  # forgetting
    assert model.residual_map(batch)["weights"][0].shape == found["weights"][0].shape
    grid = keras_ctr.plots.weights_by_site(found["weights"])
    assert grid.shape == (3, 3) and np.isnan(grid[0, 1:]).all()
    with pytest.raises(ValueError, match="no residual stack"):
        zoo.get("lr").adapt(schema).residual_map(batch)
    keras_ctr.plots.residual_map(found, tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 1000
    plain = zoo.get("onetrans", **exchange.SMALL["onetrans"]).adapt(schema)
    assert plain.residual_map(batch) == {"weights": [], "gate": []}


@pytest.mark.once
def test_histories_are_read_in_order():
    """Token models notice the order of events; pooled ones do not. An empty one is finite.

    DIN is asked for events too, but weighs them one by one.
    """
    ordered = set(zoo.names("sequence")) - {"din"}
    schema = testing.example_schema()
    batch, _ = testing.example_batch(schema)
    batch["history"][:] = [2, 3, 4, 5, 6]
    turned = {**batch, "history": batch["history"][:, ::-1].copy()}
    empty = {**batch, "history": np.zeros_like(batch["history"])}
    for name in zoo.names():
        model = zoo.get(name, **exchange.SMALL[name]).adapt(schema)
        for weight in model.trainable_weights:
            weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
        one, other, none = (
            ops.convert_to_numpy(model({k: ops.convert_to_tensor(a) for k, a in b.items()}))
            for b in (batch, turned, empty)
        )
        difference = np.abs(one - other).max()
        if name in ordered:
            assert difference > 1e-5, name
        else:  # a mean in another order is rounded otherwise, which AFN's logarithms amplify
            assert difference < (1e-3 if name == "afn" else 1e-5), name
        assert np.isfinite(none).all()


@pytest.mark.once
def test_sequence_models_do_without_sequences():
    schema = Schema([Categorical("a", 7), Categorical("b", 5)])
    batch, _ = testing.example_batch(schema)
    for name in zoo.names("sequence"):
        model = zoo.get(name, **exchange.SMALL[name]).adapt(schema)
        assert model.predict(batch, verbose=0).shape == (64, 1)


@pytest.mark.once
def test_import_adds_little_to_that_of_keras():
    """As a share, since machines are shared: what takes both times long cancels out."""
    code = (
        "import time; start = time.perf_counter(); import keras; middle = time.perf_counter();"
        "import keras_ctr; print((time.perf_counter() - middle) / (middle - start))"
    )
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    shares = [
        float(subprocess.check_output([sys.executable, "-c", code], env=env, text=True))
        for _ in range(3)
    ]
    assert min(shares) < 0.2, shares


@pytest.mark.once
def test_import_loads_neither_pandas_nor_polars_nor_another_backend():
    code = (
        "import sys, keras; before = set(sys.modules); import keras_ctr;"
        "keras_ctr.zoo.get('deres'); new = set(sys.modules) - before;"
        "print([m for m in ('pandas', 'polars', 'torch', 'tensorflow') if m in new])"
    )
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    found = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
    assert found.strip() == "[]"


@pytest.mark.once
def test_a_backend_is_found_when_tensorflow_is_missing(tmp_path):
    """In a process that cannot see TensorFlow, with KERAS_BACKEND unset."""
    code = (
        "import importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'tensorflow' else find(name, *a);"
        "import keras_ctr, keras; print(keras.backend.backend())"
    )
    env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    # Keras writes a config with its default in it: that is not somebody's choice, another one is.
    for config, expected in ((None, "jax"), ("tensorflow", "jax"), ("torch", "torch")):
        if config:
            (tmp_path / "keras.json").write_text(json.dumps({"backend": config}))
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**env, "KERAS_HOME": str(tmp_path if config else tmp_path / "none")},
            text=True,
            capture_output=True,
            check=True,
        )
        assert done.stdout.strip() == expected
        assert ("using jax" in done.stderr) == (expected == "jax")


@pytest.mark.once
def test_without_any_backend_data_can_still_be_prepared():
    code = (
        "import importlib.util as u, sys; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name in ('tensorflow', 'jax', 'torch')"
        " else find(name, *a);"
        "import keras_ctr; from keras_ctr import Encoder;"
        "assert 'keras' not in sys.modules;"
        "keras_ctr.zoo"
    )
    env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    env["KERAS_HOME"] = os.devnull
    done = subprocess.run([sys.executable, "-c", code], env=env, text=True, capture_output=True)
    assert "ImportError: keras_ctr.zoo needs a backend" in done.stderr
