"""Exported models: raw rows in ONNX Runtime, without Keras or this package."""

import json
import subprocess
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from exchange import SMALL
from keras import ops
from test_columns import EVERY, every_frame
from typer.testing import CliRunner

import keras_ctr
from keras_ctr import (
    Bag,
    Categorical,
    Cross,
    Numeric,
    Schema,
    Sequence,
    Time,
    datasets,
    layers,
    zoo,
)
from keras_ctr.cli import app
from keras_ctr.features.times import stamps
from keras_ctr.serving import Artefact, feeds

# Where graphs are compiled, one model per way in; the walk is the same on all backends.
ON_EVERY_BACKEND = ["dcnv2", "din", "deres"]
NAMES = zoo.names() if keras.backend.backend() == "torch" else ON_EVERY_BACKEND


@pytest.fixture(scope="module")
def train():
    return datasets.from_pandas(every_frame(200), EVERY, valid=0, test=0, batch_size=100)[0]


def strange_rows(rows=200):
    """Unseen, missing and odd values; histories that are longer than what is kept."""
    frame = every_frame(rows, seed=7)
    kind = pl.Series(np.arange(rows) % 5)
    history, nothing = pl.col("history"), pl.lit(None)
    return frame.with_columns(
        pl.when(kind == 0).then(pl.lit("日本 né")).otherwise("user").alias("user"),
        pl.when(kind == 1).then(nothing).otherwise(pl.col("item").cast(float)).alias("item"),
        pl.when(kind == 2).then(nothing).otherwise("price").alias("price"),
        pl.when(kind == 3).then(pl.lit(61.5)).otherwise("age").alias("age"),
        pl.when(kind == 4).then(pl.concat_list([history] * 9)).otherwise(history),
        pl.when(kind == 2).then(nothing).otherwise("time").alias("time"),
    )


def weighted(name, train):
    """A model whose weights are far enough from the start to tell rows apart."""
    keras.utils.set_random_seed(3)
    model = zoo.get(name, **SMALL[name]).adapt(train)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_every_model_takes_raw_rows(name, train, tmp_path):
    model = weighted(name, train)
    artefact = Artefact(model.export(tmp_path / "model.onnx"))
    assert artefact.check() < 1e-5
    rows = strange_rows()
    expected = model.predict(rows, verbose=0)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(artefact.predict(rows), expected, atol=1e-5)
    np.testing.assert_allclose(artefact.predict(rows.head(1)), expected[:1], atol=1e-5)


RUN_ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras", "keras_ctr", "tensorflow", "torch", "jax", "polars"):
            raise AssertionError(name)
sys.meta_path.insert(0, Refuse())
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
feeds = dict(np.load(sys.argv[2], allow_pickle=False))
feeds = {key: a.astype(object) if a.dtype.kind == "U" else a for key, a in feeds.items()}
np.save(sys.argv[3], session.run(["probability"], feeds)[0])
"""


@pytest.mark.once
def test_nothing_but_onnx_runtime_is_needed(train, tmp_path):
    model = weighted("din", train)
    path, rows = model.export(tmp_path / "model.onnx"), strange_rows()
    arrays = feeds(Artefact(path).inputs, rows)
    texts = {key: a.astype("U") if a.dtype == object else a for key, a in arrays.items()}
    np.savez(tmp_path / "rows.npz", **texts)
    subprocess.run(
        [sys.executable, "-c", RUN_ALONE, path, tmp_path / "rows.npz", tmp_path / "found.npy"],
        check=True,
        cwd=tmp_path,
    )
    expected = model.predict(rows, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-5)


FUNCTIONS = {  # of `(B, 3, 4)`, for what no model of the zoo calls
    "moveaxis": lambda x: ops.moveaxis(x, [1, 2], [2, 1]) * np.arange(12.0).reshape(4, 3),
    "moveaxis back": lambda x: ops.moveaxis(ops.moveaxis(x, 1, -1), -1, 1),
    "flip": lambda x: ops.flip(x, axis=1) * np.arange(12.0).reshape(3, 4),
    "tile": lambda x: ops.tile(x, (1, 2, 1))[:, 1:4],
    "unstack": lambda x: ops.stack(ops.unstack(x, axis=2)[::-1], axis=2) * np.arange(4.0),
    "ones and zeros": lambda x: x * ops.ones_like(x) + ops.zeros_like(x),
    "any and all": lambda x: x * ops.cast(
        ops.any(x > 1, axis=1, keepdims=True) | ops.all(x < 1, axis=(1, 2))[:, None, None],
        "float32",
    ),
    "deviation": lambda x: x - ops.std(x, axis=(1, 2), keepdims=True) + ops.var(x),
    "take along": lambda x: x * ops.take_along_axis(x, ops.argsort(x, axis=2), axis=2),
    "take along, broadcast": lambda x: ops.take_along_axis(
        x, ops.argsort(x[:, :1], axis=2), axis=2
    ),
    "clip": lambda x: ops.clip(x, -0.5, 0.5),
    "squeeze": lambda x: ops.squeeze(x[:, :, None], axis=2),
    "logaddexp": lambda x: 0.1 * (ops.logaddexp(x, -x) - ops.log1p(ops.abs(x)) + ops.expm1(x)),
    "steps": lambda x: x[:, ::2, 1:] * x[..., -1:][:, :2],
}  # fmt: skip


class Probe(zoo.CTRModel):
    """Applies a function to three copies of four numbers."""

    def __init__(self, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.function = FUNCTIONS[name]

    def call(self, batch, training=None):
        x = batch["values"][:, None] * np.array([[0.5], [1.0], [-2.0]], "float32")
        return ops.sigmoid(ops.sum(self.function(x), axis=(1, 2))[:, None])


@pytest.mark.once
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_no_model_calls(name, rng, tmp_path):
    model = Probe(name).adapt(Schema([Numeric(column) for column in "abcd"]))
    batch = {"values": rng.normal(size=(20, 4)).astype("float32")}
    expected = model.predict(batch, batch_size=20, verbose=0)
    found = Artefact(model.export(tmp_path / "model.onnx")).run(batch)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.std() > 1e-3


@pytest.mark.once
def test_every_way_to_encode(tmp_path):
    rng = np.random.default_rng(0)
    rows = 400
    hours = rng.integers(-90000, 900000, rows)
    frame = pl.DataFrame(
        {
            "text": rng.choice(["x", "14", "14.0", "14.00", "True", "true", "é", ""], rows),
            "hash": rng.choice(["x", "14.0", "14", "日本", ""], rows),
            "bucket": [None, *rng.normal(size=rows - 1)],
            "log2": [None, *rng.integers(-5, 5000, rows - 1)],
            "id": rng.integers(0, 9, rows),
            "filled": [None if at < 100 else "z" for at in range(rows)],
            "time": stamps(pl.Series([0.0]), "t") + hours * 3600.0,
            "seen": ["^".join(map(str, rng.integers(0, 9, k))) for k in rng.integers(0, 9, rows)],
            "log": rng.normal(size=rows) * 100,
            "plain": rng.integers(0, 99, rows),
            "rank": rng.lognormal(size=rows).round(1),
            "label": rng.integers(0, 2, rows),
        }
    )
    schema = Schema(
        [
            Categorical("text"),
            Categorical("hash", hash_size=7),
            Categorical("bucket", buckets=5, fill=0.5),
            Categorical("log2", buckets="log2"),
            Categorical("id", 10),
            Categorical("filled", fill="q"),
            Time("time", parts=("hour", "weekday", "day", "month", "days", "week_cycle")),
            Sequence("seen", of="id", length=4, keep="first"),
            Numeric("log", transform="log"),
            Numeric("plain", fill=3.0),
            Numeric("rank", transform="quantile", codes=2),
            Cross("crossed", of=("text", "time.hour")),
            Cross("hashed", of=("id", "log2", "filled"), hash_size=50),
        ]
    )
    train = datasets.from_pandas(frame, schema, valid=0, test=0)[0]
    model = weighted("dnn", train)
    artefact = Artefact(model.export(tmp_path / "model.onnx"))
    shuffled = frame.sample(300, seed=1).with_columns(pl.col("text").shuffle(seed=2))
    np.testing.assert_allclose(
        artefact.predict(shuffled), model.predict(shuffled, verbose=0), atol=1e-5
    )
    assert artefact.check() < 1e-5


@pytest.mark.once
def test_names_of_columns(tmp_path):
    """A column may be called as a tensor inside would be; not as the output."""
    names = ["cast_3", "add_20", "labelencoder_1", "constant_2", "a b/c:0", "日本"]
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {name: rng.choice(["x", "y", "z"], 200) for name in names} | {"label": [0, 1] * 100}
    )
    schema = Schema([Categorical(name) for name in names])
    model = weighted("dnn", datasets.from_pandas(frame, schema, valid=0, test=0)[0])
    artefact = Artefact(model.export(tmp_path / "model.onnx"))
    np.testing.assert_allclose(artefact.predict(frame), model.predict(frame, verbose=0), atol=1e-5)
    frame = frame.rename({"日本": "probability"})
    schema = Schema([Categorical(name) for name in frame.columns if name != "label"])
    model = weighted("dnn", datasets.from_pandas(frame, schema, valid=0, test=0)[0])
    with pytest.raises(ValueError, match="No column may be called 'probability'"):
        model.export(tmp_path / "model.onnx")


@pytest.mark.once
def test_ids_out_of_range_are_unseen(tmp_path):
    """They must not be the rows of the next column's values."""
    frame = pl.DataFrame({"a": [0, 1, 2, 3] * 20, "b": [0, 1, 2, 3] * 20, "label": [0, 1] * 40})
    schema = Schema([Categorical("a", 4), Categorical("b", 4), Sequence("s", of="a", length=2)])
    frame = frame.with_columns(s=pl.lit("1^2"))
    model = weighted("dnn", datasets.from_pandas(frame, schema, valid=0, test=0)[0])
    artefact = Artefact(model.export(tmp_path / "model.onnx"))
    row = {"a": 1, "b": 2, "s": [1, 1]}
    expected = artefact.predict(row)
    for wrong in ({"a": 4}, {"a": -1}, {"a": 2.5}, {"s": [9, 1]}, {"s": [1, -3]}):
        np.testing.assert_array_equal(artefact.predict(row | wrong), expected)
        with pytest.raises(ValueError, match="whole ids"):
            model.predict([row | wrong])
    assert (artefact.predict(row | {"a": 2}) != expected).all()


@pytest.mark.once
def test_examples_of_units_and_separators(tmp_path):
    frame = pl.DataFrame(
        {
            "at": [1.7e12 + 3.6e6 * hour for hour in range(100)],
            "tags": [["a|b", "c"], ["c"]] * 50,
            "label": [0, 1] * 50,
        }
    )
    schema = Schema([Time("at", unit="ms"), Bag("tags")])
    model = weighted("dnn", datasets.from_pandas(frame, schema, valid=0, test=0)[0])
    artefact = Artefact(model.export(tmp_path / "model.onnx"))
    assert artefact.check() < 1e-5
    rows = artefact.examples["rows"]
    assert 1.6e12 < rows[3]["at"] < 1.8e12 and any("c" in row["tags"] for row in rows)
    assert not any("a|b" in row["tags"] for row in rows)


@pytest.mark.once
def test_tables_of_half_precision(train, tmp_path):
    model = zoo.get("dcnv2", **SMALL["dcnv2"]).adapt(train, table_dtype="bfloat16")
    self_check(model, train, tmp_path)
    model = zoo.get("deepfm", **SMALL["deepfm"])
    model.compile("adam", table_optimizer="rows")
    model.fit(train, epochs=2, verbose=0)
    self_check(model, train, tmp_path)


def test_models_without_an_encoder_take_arrays(tmp_path):
    schema = keras_ctr.testing.example_schema()
    model = zoo.get("dcnv2", **SMALL["dcnv2"]).adapt(schema)
    batch, _ = keras_ctr.testing.example_batch(schema)
    artefact = Artefact(model.export(tmp_path / "model.onnx"))
    found = artefact.run(batch)
    np.testing.assert_allclose(found, model.predict(batch, verbose=0), atol=1e-5)


@pytest.mark.once
@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_recalibration_is_exported(method, train, tmp_path):
    pytest.importorskip("sklearn")
    model = weighted("dcnv2", train)
    before = model.predict(every_frame(50, 3), verbose=0)
    model.recalibrate(every_frame(200), method=method)
    artefact = Artefact(model.export(tmp_path / "model.onnx"))
    found = artefact.predict(every_frame(50, 3))
    np.testing.assert_allclose(found, model.predict(every_frame(50, 3), verbose=0), atol=1e-5)
    assert np.abs(found - before).max() > 1e-3
    assert artefact.card["calibration"]["method"] == method


@pytest.mark.once
def test_half_precision_and_other_parts(train, tmp_path):
    """What stands in no model at its defaults: activations, norms, towers."""
    activations = ["relu", "gelu", "silu", "tanh", "elu", "selu", "leaky_relu", "softplus", "relu6"]
    for activation in [*activations, "hard_sigmoid", "log_sigmoid"]:
        model = zoo.get("dnn", hidden_units=[8], activation=activation, embedding_dim=4)
        self_check(model, train, tmp_path)
    for tower in (
        layers.MLP([8], batch_norm=True),
        layers.TabM([8], members=2),
        layers.SkipMetaLogit([8]),
    ):
        self_check(zoo.get("dcnv2", tower=tower), train, tmp_path)
    model = zoo.get("deres", dtype="mixed_bfloat16", **SMALL["deres"])
    self_check(model, train, tmp_path, atol=0.02)


def self_check(model, train, tmp_path, atol=1e-5):
    model.adapt(train)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
    artefact = Artefact(model.export(tmp_path / "model.onnx"))
    rows = every_frame(60, 5)
    expected = model.predict(rows, verbose=0)
    np.testing.assert_allclose(artefact.predict(rows), expected, atol=atol)


@pytest.mark.once
class TestQuantized:
    def test_size_and_difference(self, tmp_path):
        rng = np.random.default_rng(0)
        frame = pl.DataFrame(
            {
                "user": [f"u{i}" for i in rng.integers(0, 5000, 20000)],
                "item": [f"i{i}" for i in rng.integers(0, 900, 20000)],
                "label": rng.integers(0, 2, 20000),
            }
        )
        schema = Schema([Categorical("user"), Categorical("item")])
        train = datasets.from_pandas(frame, schema, valid=0, test=0)[0]
        model = zoo.get("dnn", embedding_dim=128, hidden_units=[16]).adapt(train)
        for weight in model.trainable_weights:
            weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
        expected = model.predict(frame.head(500), verbose=0)
        sizes, apart = {}, {}
        for kind in (None, "float16", "int8"):
            path = model.export(tmp_path / f"{kind}.onnx", quantize=kind)
            artefact = Artefact(path)
            artefact.check()
            sizes[kind] = path.stat().st_size
            apart[kind] = np.abs(artefact.predict(frame.head(500)) - expected).max()
        assert sizes["float16"] < 0.55 * sizes[None] and sizes["int8"] < 0.32 * sizes[None]
        assert apart[None] < 1e-5 < apart["float16"] < 1e-3 and apart["int8"] < 1e-2

    def test_another_kind(self, train, tmp_path):
        with pytest.raises(ValueError, match="int4"):
            weighted("lr", train).export(tmp_path / "model.onnx", quantize="int4")


@pytest.mark.once
class TestArtefact:
    @pytest.fixture(scope="class")
    def path(self, train, tmp_path_factory):
        model = weighted("din", train)
        path = tmp_path_factory.mktemp("artefact") / "model.onnx"
        return model.export(path, metrics={"auc": 0.7})

    def test_card(self, path):
        card = Artefact(path).card
        assert card["model"] == "DIN" and card["metrics"] == {"auc": 0.7}
        assert Schema.from_dict(card["schema"]).sized
        assert [each["name"] for each in card["inputs"]] == [
            name for name in every_frame().columns if name != "click"
        ]
        assert card["versions"]["keras"] == keras.__version__
        onnx.checker.check_model(str(path))
        session = onnxruntime.InferenceSession(str(path))
        assert [i.shape for i in session.get_inputs()] == [
            ["rows", each["width"]] for each in card["inputs"]
        ]

    def test_any_change_is_seen(self, path, tmp_path):
        content = path.read_bytes()
        other = tmp_path / "other.onnx"
        rng = np.random.default_rng(0)
        for at in rng.integers(0, len(content), 40):
            other.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
            with pytest.raises(ValueError, match="must be"):
                Artefact(other)
        for end in rng.integers(0, len(content), 10):
            other.write_bytes(content[:end])
            with pytest.raises(ValueError, match="must be"):
                Artefact(other)
        with pytest.raises(FileNotFoundError):
            Artefact(tmp_path / "none.onnx")

    def test_examples_that_another_model_gave(self, path):
        artefact = Artefact(path)
        artefact.examples["probabilities"][2] += 0.01
        with pytest.raises(ValueError, match="0.01 apart in row 2"):
            artefact.check()

    def test_rows_of_every_kind(self, path):
        artefact, frame = Artefact(path), every_frame(6, 2).drop("click")
        expected = artefact.predict(frame)
        for rows in (frame.to_dicts(), frame.to_dict(as_series=False), frame.lazy()):
            np.testing.assert_array_equal(artefact.predict(rows), expected)
        np.testing.assert_array_equal(artefact.predict(frame.to_dicts()[1]), expected[1:2])
        joined = frame.with_columns(
            pl.col("genres").list.join("|"), pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S")
        )
        np.testing.assert_array_equal(artefact.predict(joined), expected)
        assert artefact.predict(frame.head(0)).shape == (0, 1)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"price": "dear"}, "'price' must hold numbers. Received: 'dear' at row 0"),
            ({"price": float("inf")}, "'price' must hold numbers"),
            ({"image": [1.0]}, "'image' must hold numbers"),
            ({"time": "yesterday"}, "'time' must hold moments"),
            ({"history": [["a"]]}, "'history' must hold values joined by"),
            ({"genres": ["a|b"]}, "'genres'"),
            ({"user": {"a": 1}}, "'user' must hold text"),
        ],
    )
    def test_wrong_values(self, path, change, message):
        row = every_frame(1, 2).drop("click").to_dicts()[0] | change
        with pytest.raises(ValueError, match=message):
            Artefact(path).predict([row])

    def test_missing_columns(self, path):
        with pytest.raises(ValueError, match="none called item.*at row 0"):
            Artefact(path).predict([{"user": "a"}])

    def test_commands(self, path, train, tmp_path):
        weighted("lr", train).save(tmp_path / "model.keras")
        done = CliRunner().invoke(
            app, ["export", str(tmp_path / "model.keras"), str(tmp_path / "model.onnx"), "--json"]
        )
        assert json.loads(done.stdout)["bytes"] == (tmp_path / "model.onnx").stat().st_size
        done = CliRunner().invoke(app, ["check", str(tmp_path / "model.onnx"), "--json"])
        found = json.loads(done.stdout)
        assert found["model"] == "LR" and found["largest difference"] < 1e-5

    def test_triton(self, train, tmp_path):
        path = weighted("lr", train).export(tmp_path / "clicks")
        assert path == tmp_path / "clicks" / "1" / "model.onnx"
        config = (tmp_path / "clicks" / "config.pbtxt").read_text()
        assert 'name: "clicks"' in config and "TYPE_STRING" in config
        assert config.count("dims:") == len(Artefact(path).inputs) + 1

    def test_large_weights_stand_beside(self, train, tmp_path, monkeypatch):
        monkeypatch.setattr("keras_ctr.serving.exporting.MOST_BYTES", 1000)
        model = weighted("dnn", train)
        path = model.export(tmp_path / "model.onnx")
        assert Artefact(path).check() < 1e-5
        data = path.with_suffix(".data")
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
        with pytest.raises(ValueError, match="model.data must be as"):
            Artefact(path)

    def test_what_cannot_be_exported(self, train, tmp_path):
        with pytest.raises(ValueError, match="adapt"):
            zoo.get("lr").export(tmp_path / "model.onnx")
        with pytest.raises(ValueError, match="format"):
            weighted("lr", train).export(tmp_path / "model.pt", format="pt")
        with pytest.raises(ValueError, match="end in '.onnx'"):
            weighted("lr", train).export(tmp_path / "model", format="onnx")
