"""Every kind of column: what it is encoded to, and that every model takes it."""

import datetime

import keras
import numpy as np
import polars as pl
import pytest
from exchange import SMALL
from keras import ops

import keras_ctr
from keras_ctr import (
    Bag,
    Categorical,
    Cross,
    Encoder,
    Numeric,
    Schema,
    Sequence,
    Time,
    Vector,
    zoo,
)
from keras_ctr.features.crossing import interactions
from keras_ctr.features.quantities import bin_edges
from keras_ctr.features.times import stamps

EVERY = Schema(
    [
        Categorical("user", min_count=2),
        Categorical("item"),
        Numeric("price", transform="quantile", embedding="piecewise", bins=4, flag=True),
        Numeric("age", embedding="periodic", codes=1),
        Numeric("size", embedding="autodis"),
        Numeric("plain"),
        Time("time", parts=("hour", "weekday", "month", "days", "day_cycle")),
        Bag("genres", weights="shares", pool="mean"),
        Bag("words", tokens=True, pool="max", separator=" "),
        Vector("image"),
        Sequence("history", of="item", length=4),
        Sequence("gaps", of=Categorical("gap", buckets="log2"), length=3),
        Cross("user x hour", of=("user", "time.hour")),
    ],
    label="click",
)


def every_frame(rows=48, seed=0):
    rng = np.random.default_rng(seed)
    start = datetime.datetime(2025, 1, 30)

    def some(values, most):
        return [rng.choice(values, rng.integers(0, most + 1)).tolist() for _ in range(rows)]

    genres = some(["a", "b", "c"], 3)
    return pl.DataFrame(
        {
            "user": rng.choice(["u", "v", "w"], rows).tolist(),
            "item": rng.integers(0, 6, rows),
            "price": [None, *rng.lognormal(size=rows - 1)],
            "age": rng.integers(18, 30, rows),
            "size": rng.normal(size=rows),
            "plain": rng.normal(size=rows),
            "time": [start + datetime.timedelta(hours=int(h)) for h in rng.integers(0, 999, rows)],
            "genres": genres,
            "shares": [rng.random(len(each)).tolist() for each in genres],
            "words": [" ".join(each) for each in some(["x", "y", "z"], 2)],
            "image": [None, *rng.normal(size=(rows - 1, 3)).tolist()],
            "history": [[int(i) for i in each] for each in some(np.arange(6), 5)],
            "gaps": [[int(i) for i in each] for each in some(np.arange(90), 3)],
            "click": np.arange(rows) % 2,
        },
        strict=False,
    )


# One model per way in: first-order, pooled, field-aware, without numbers, by history, by token.
WAYS = ["lr", "dcnv2", "ffm", "dlrm", "din", "hstu"]
ALL = zoo.names() if keras.backend.backend() == "torch" else WAYS  # the others compile too long


@pytest.mark.parametrize("name", ALL)
def test_every_model_takes_every_kind_of_column(name, tmp_path):
    """It trains, is saved, and a fresh copy predicts the same from raw rows."""
    train, _, _ = keras_ctr.datasets.from_pandas(
        every_frame(), EVERY, valid=0, test=0, batch_size=24
    )
    config = dict(SMALL[name])
    model = zoo.get(name, **config)
    model.compile("adam")
    losses = model.fit(train, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    p = model.predict(every_frame(7, 1), verbose=0)
    assert p.shape == (7, 1) and np.std(p) > 0
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(every_frame(7, 1), verbose=0), p, atol=1e-6)


@pytest.mark.once
def test_schemas_of_every_kind_travel(tmp_path):
    encoder = Encoder(EVERY).fit(every_frame())
    schema = encoder.schema
    assert schema.sized and not EVERY.sized
    assert Schema.from_json(schema.to_json()) == schema and hash(schema)
    encoder.save(tmp_path)
    loaded = Encoder.load(tmp_path)
    assert loaded.schema == schema
    ours, theirs = (e.encode(every_frame(9, 2)) for e in (encoder, loaded))
    assert list(ours) == [*schema.shapes(), "label"]
    for key, array in ours.items():
        np.testing.assert_array_equal(array, theirs[key])
        if key != "label":
            (width,), dtype = schema.shapes()[key]
            assert array.shape == (9, width) and array.dtype == dtype
    assert schema.position("time.hour") == 3 and schema.fields[-2:] == ["history", "gaps"]


@pytest.mark.once
def test_a_store_on_disk_holds_every_kind(tmp_path):
    every_frame(200).write_parquet(tmp_path / "log.parquet")
    load = keras_ctr.datasets.load
    train, _, test = load(tmp_path / "log.parquet", schema=EVERY, cache=tmp_path / "cache")
    batch, _ = train[0]
    assert set(batch) == set(train.schema.shapes()) and test.num_rows > 0
    assert {"genres", "image"} <= set(train.to_pandas().columns)


# Times


@pytest.mark.once
@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([datetime.datetime(2024, 2, 29, 23, 30), None], "s"),
        (["2024-02-29T23:30:00Z", ""], "s"),
        (["2024-02-29 23:30", None], "s"),
        (["2024-02-29 23:30:00.000+02:00", None], "s"),  # the clock that is shown
        ([1709249400, None], "s"),
        (["1709249400000", None], "ms"),
    ],
)
def test_moments_of_every_form(values, unit):
    found = stamps(pl.Series("t", values), "t", unit=unit)
    assert found[0] == 1709249400 and np.isnan(found[1])
    frame = pl.DataFrame({"t": values, "click": [0, 1]})
    parts = ("hour", "weekday", "day", "month")
    schema = Schema([Time("t", parts=parts, unit=unit)], label="click")
    ids = Encoder(schema).fit(frame).encode(frame)["ids"]
    # the 24th hour, a Thursday, the 29th, February; ids count from 2
    assert ids.tolist() == [[23 + 2, 3 + 2, 29 + 2, 2 + 2], [0, 0, 0, 0]]


@pytest.mark.once
def test_days_are_held_to_what_was_seen():
    frame = pl.DataFrame({"t": ["2024-01-01", "2024-01-11"], "click": [0, 1]})
    encoder = Encoder(Schema([Time("t", parts=("days",))], label="click")).fit(frame)
    new = pl.DataFrame({"t": ["2024-01-06", "2030-01-01", "1999-01-01", None]})
    assert encoder.encode(new)["values"][:, 0].tolist() == pytest.approx([0, 1, -1, 0])
    with pytest.raises(ValueError, match="'t' must hold moments.*'soon' at row 1"):
        encoder.encode(pl.DataFrame({"t": ["2024-01-06", "soon"]}))


@pytest.mark.once
def test_cycles_close():
    frame = pl.DataFrame({"t": ["2024-01-01 00:00", "2024-01-01 12:00", "2024-01-08 00:00"]})
    schema = Schema([Time("t", parts=("day_cycle", "week_cycle"))], label="click")
    values = Encoder(schema).fit(frame.with_columns(click=pl.lit(0))).encode(frame)["values"]
    np.testing.assert_allclose(values[0], values[2], atol=1e-5)  # a week later, a Monday too
    np.testing.assert_allclose(values[0], [0, 1, 0, 1], atol=1e-5)
    np.testing.assert_allclose(values[1, :2], [0, -1], atol=1e-5)


# Bags and vectors


def embedded(schema, frame, pool="mean", dim=2):
    encoder = Encoder(schema).fit(frame)
    batch = {k: a for k, a in encoder.encode(frame).items() if k in encoder.schema.shapes()}
    layer = keras_ctr.layers.FeatureEmbedding(dim, pool=pool, schema=encoder.schema)
    found = layer({key: ops.convert_to_tensor(array) for key, array in batch.items()})
    return layer, keras.tree.map_structure(ops.convert_to_numpy, found)


@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
@pytest.mark.parametrize("weights", [None, "w"])
def test_bags_are_pooled(pool, weights):
    frame = pl.DataFrame(
        {"g": ["b|a", "a", "", None], "w": [[3.0, 1.0], [2.0], [], None], "click": [0, 1, 0, 1]}
    )
    frame = frame if weights else frame.drop("w")
    schema = Schema([Bag("g", pool=pool, weights=weights)], label="click")
    layer, found = embedded(schema, frame)
    table = ops.convert_to_numpy(layer.table)  # rows 2 and 3: a, the more frequent, and b
    a, b = table[2], table[3]
    wa, wb = (1.0, 3.0) if weights else (1.0, 1.0)
    first = {
        "sum": wa * a + wb * b,
        "mean": (wa * a + wb * b) / (wa + wb),
        "max": np.maximum(wa * a, wb * b),
    }[pool]
    second = a * (2.0 if weights and pool != "mean" else 1.0)
    np.testing.assert_allclose(found[:, 0], [first, second, 0 * a, 0 * a], atol=1e-7)


@pytest.mark.once
def test_bags_say_what_is_wrong():
    frame = pl.DataFrame({"g": ["a|b"], "w": ["1"], "click": [1]})
    with pytest.raises(ValueError, match="'w' must hold one weight per value of 'g'.*1 for 2"):
        encoder = Encoder(Schema([Bag("g", weights="w")], label="click")).fit(frame)
        encoder.encode(frame)
    with pytest.raises(ValueError, match="`pool` of 'g' must be"):
        Bag("g", pool="median")
    with pytest.raises(ValueError, match="`tokens` of 'g'"):
        Bag("g", weights="w", tokens=True)


def test_a_vector_is_projected():
    frame = pl.DataFrame({"v": [[1.0, 3.0], None, [3.0, 1.0]], "click": [0, 1, 0]})
    layer, found = embedded(Schema([Vector("v")], label="click"), frame)
    kernel = ops.convert_to_numpy(layer.projections[0])
    np.testing.assert_allclose(
        found[:, 0], np.array([[-1, 1], [0, 0], [1, -1]]) @ kernel, atol=1e-5
    )


@pytest.mark.once
def test_vectors_say_what_is_wrong():
    frame = pl.DataFrame({"v": [[1.0, 3.0], [1.0]], "click": [0, 1]})
    with pytest.raises(ValueError, match="'v' must hold 2 numbers in every row.*1 at row 1"):
        Encoder(Schema([Vector("v")], label="click")).fit(frame)
    none = pl.DataFrame(
        {"v": [None], "click": [0]}, schema={"v": pl.List(pl.Float64), "click": int}
    )
    with pytest.raises(ValueError, match="no row of it holds one"):
        Encoder(Schema([Vector("v")], label="click")).fit(none)


# Quantities


@pytest.mark.once
def test_ranks_become_normal():
    x = np.random.default_rng(0).lognormal(0, 3, 20000)
    frame = pl.DataFrame({"x": x, "click": [0, 1] * 10000})
    schema = Schema([Numeric("x", transform="quantile")], label="click")
    encoder = Encoder(schema).fit(frame)
    z = encoder.encode(frame)["values"][:, 0]
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.02
    assert (np.diff(z[np.argsort(x)]) >= 0).all()
    new = pl.DataFrame({"x": [1e30, -1e30, None, float(np.median(x))]})
    assert encoder.encode(new)["values"][:, 0].tolist() == pytest.approx(
        [3.29, -3.29, 0, 0], abs=0.01
    )


@pytest.mark.once
def test_a_value_that_many_rows_share_has_an_edge_to_itself():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(10000) < 0.9, 0.0, rng.lognormal(size=10000))
    edges = bin_edges(x, 48)
    assert 40 < len(edges) <= 49 and 0.0 in edges
    assert np.allclose([edges[0], edges[-1]], [x.min(), x.max()])
    assert bin_edges(np.array([3.0] * 5), 48) == [2.5, 3.5]
    assert bin_edges(np.array([1.0, 2.0, 4.0, 2.0]), 48) == [1, 2, 4]


@pytest.mark.once
def test_flags_and_values_of_a_quantity():
    frame = pl.DataFrame({"x": [1.0, None, 7.0, 7.0], "click": [0, 1, 0, 1]})
    schema = Schema([Numeric("x", flag=True, codes=2)], label="click")
    encoder = Encoder(schema).fit(frame)
    assert encoder.schema.fields == ["x.value", "x", "x.missing"]
    assert encoder.encode(frame)["ids"][:, 0].tolist() == [1, 0, 2, 2]  # 7 twice, 1 once
    assert encoder.encode(frame)["values"][:, 1].tolist() == [0, 1, 0, 0]


# Pre-trained vectors


@pytest.mark.parametrize("trained", [False, True])
def test_pretrained_vectors_of_a_column(trained, tmp_path):
    frame = every_frame()
    schema = Schema([Categorical("user"), Categorical("item"), Numeric("plain")], label="click")
    columns = frame.select("user", "item", "plain", "click")
    train, _, _ = keras_ctr.datasets.from_pandas(columns, schema, valid=0, test=0)
    vectors = {"u": [1.0, 2.0, 3.0], "v": [4.0, 5.0, 6.0], "other": [7.0, 8.0, 9.0]}
    model = zoo.get("dnn", **SMALL["dnn"])
    model.adapt(train, pretrained={"user": (vectors, trained)})
    table, _ = model.embed.tables["user"]
    ids = {token: at for at, token in enumerate(model.encoder.vocabulary("user"), 2)}
    start = ops.convert_to_numpy(table).copy()
    np.testing.assert_array_equal(start[[0, 1, ids["w"]]], 0)
    np.testing.assert_array_equal(start[[ids["u"], ids["v"]]], [vectors["u"], vectors["v"]])
    model.compile("adam")
    model.fit(train, verbose=0)
    assert (ops.convert_to_numpy(table) != start).any() == trained
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    p = model.predict(columns, verbose=0)
    np.testing.assert_allclose(loaded.predict(columns, verbose=0), p, atol=1e-6)


@pytest.mark.once
def test_pretrained_vectors_say_what_is_wrong():
    schema = Schema([Categorical("user", 4), Numeric("plain")], label="click")
    with pytest.raises(ValueError, match="Unknown categorical column in `pretrained`: 'usr'"):
        zoo.get("lr").adapt(schema, pretrained={"usr": np.zeros((4, 2))})
    with pytest.raises(ValueError, match="a row for each of its 4 ids"):
        zoo.get("lr").adapt(schema, pretrained={"user": np.zeros((3, 2))})
    with pytest.raises(ValueError, match="needs the vocabulary of a data set"):
        zoo.get("lr").adapt(schema, pretrained={"user": {"a": [1.0]}})


@pytest.mark.once
class TestCross:
    SCHEMA = Schema([Categorical("a"), Categorical("b", fill="none"), Cross("ab", of=("a", "b"))])

    def test_ids_are_of_combinations(self):
        frame = pl.DataFrame(
            {"a": ["1.0", "1", "2", None], "b": ["x", "x", None, "x"], "label": [0, 1, 0, 1]}
        )
        encoder = Encoder(self.SCHEMA).fit(frame)
        assert encoder.vocabulary("ab") == ["1\x1fx", "2\x1fnone"]
        assert encoder.encode(frame)["ids"][:, 2].tolist() == [2, 2, 3, 0]
        other = pl.DataFrame({"a": [2, 1], "b": ["x", None]})
        assert encoder.encode(other)["ids"][:, 2].tolist() == [1, 1]

    def test_ids_of_missing_values_are_missing(self):
        schema = Schema(
            [Time("t", parts=("hour",)), Categorical("i", 5), Cross("x", of=("t.hour", "i"))]
        )
        hour = datetime.datetime(2025, 1, 1, 7)
        frame = pl.DataFrame({"t": [hour, hour, None], "i": [3, 0, 3], "label": [0, 1, 0]})
        encoder = Encoder(schema).fit(frame)
        assert encoder.vocabulary("x") == ["9\x1f3"]
        assert encoder.encode(frame)["ids"][:, 2].tolist() == [2, 0, 0]

    def test_hashing(self):
        schema = Schema(
            [Categorical("a"), Categorical("b"), Cross("ab", of=("a", "b"), hash_size=9)]
        )
        frame = pl.DataFrame({"a": ["u", "v", None], "b": ["x", "y", "y"], "label": [0, 1, 0]})
        ids = Encoder(schema).fit(frame).encode(frame)["ids"][:, 2]
        assert (ids[:2] >= 2).all() and ids[2] == 0

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Cross("ab", of=("a",)), "two or more"),
            (lambda: Cross("ab", of=("a", "a")), "each once"),
            (lambda: Cross("ab", of="ab"), "two or more"),
            (lambda: Cross("ab", of=("a", "b"), fill=1), "those of its columns"),
            (lambda: Schema([Categorical("a"), Cross("ab", of=("a", "b"))]), "Received: 'b'"),
            (
                lambda: Schema(
                    [Categorical("a"), Categorical("b", buckets=4), Cross("ab", of=("a", "b"))]
                ),
                "buckets",
            ),
            (
                lambda: Schema([*TestCross.SCHEMA, Sequence("seen", of="ab", length=2)]),
                "must be `of` a Categorical",
            ),
        ],
    )
    def test_what_cannot_be_crossed(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.once
class TestInferredCrosses:
    def frame(self, rows=4000):
        rng = np.random.default_rng(5)
        a, b, c = (rng.integers(0, 12, rows) for _ in range(3))
        taste = rng.normal(0, 1.5, (12, 12))
        z = taste[a, b] + rng.normal(0, 1, 12)[c] + rng.normal(0, 0.5, 12)[a]
        label = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype("int64")
        names = {"a": a, "b": b, "c": c}
        texts = {name: [f"{name}{i}" for i in values] for name, values in names.items()}
        return pl.DataFrame({**texts, "label": label})

    def test_pairs_that_interact_are_found(self):
        schema = Schema.infer(self.frame(), label="label")
        assert [cross.of for cross in schema.crosses] == [("a", "b")]
        assert schema.fields == ["a", "b", "c", "a x b"]
        lines = []
        schema.describe(lines.append)
        assert any("a x b" in line and "off the log loss" in line for line in lines)
        assert not Schema.infer(self.frame(), label="label", crosses=0).crosses

    def test_nothing_is_found_in_noise(self):
        frame = self.frame().with_columns(pl.col("a").shuffle(seed=1))
        assert not Schema.infer(frame, label="label").crosses
        assert not Schema.infer(self.frame(900), label="label").crosses  # too few to tell

    def test_many_combinations(self):
        rng = np.random.default_rng(0)
        codes = {name: rng.integers(0, 3000, 9000) for name in "ab"}  # 9 million combinations
        codes |= {"c": codes["a"] % 2, "d": codes["b"] % 2}
        y = (codes["c"] == codes["d"]).astype("float64")
        (share, *pair), *_ = interactions(codes, y, most=9)
        assert pair == ["c", "d"] and share > 0.9

    def test_a_schema_that_was_inferred_leaves_other_columns_alone(self):
        frame = self.frame().with_columns(pl.lit(1).alias("constant"))
        schema = Schema.infer(frame, label="label")
        train, _, _ = keras_ctr.datasets.from_pandas(frame, schema)
        assert "constant" not in train.schema.fields
        with pytest.raises(ValueError, match="not in the schema constant"):
            keras_ctr.datasets.from_pandas(frame, Schema.from_json(schema.to_json()))
