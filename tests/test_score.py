"""`model.score`: the numbers of `predict`, with context and histories read once."""

import keras
import numpy as np
import pandas as pd
import pytest

import keras_ctr
from keras_ctr import Bag, Categorical, Cross, Numeric, Schema, Sequence, Time, datasets, zoo
from keras_ctr.features.frames import as_polars

ROWS, CANDIDATES = 200, 37
OWN = ["item", "shop", "price"]
SMALL = {
    "din": {"hidden_units": [8]},
    "onetrans": {"token_dim": 8, "num_tokens": 3, "num_layers": 3, "num_heads": 2},
    "hstu": {"token_dim": 8, "num_tokens": 2, "num_layers": 2, "num_heads": 2},
    "longer": {"token_dim": 8, "num_tokens": 2, "num_layers": 2, "num_heads": 2, "num_recent": 2},
    "deres": {"token_dim": 8, "num_tokens": 3, "num_layers": 3, "num_heads": 2},
    "mhc": {"token_dim": 8, "num_tokens": 3, "num_layers": 2, "num_heads": 2},
    "bst": {"hidden_units": [8]},
    "dnn": {"hidden_units": [8]},
}
SCHEMA = [
    Categorical("user"),
    Numeric("age"),
    Time("when"),
    Bag("tags", length=3),
    Categorical("item"),
    Categorical("shop"),
    Numeric("price", transform="quantile", codes=1),
    Sequence("seen", of="item", length=6),
    Sequence("bought", of="item", length=4),
]


def raw(seed=0):
    rng = np.random.default_rng(seed)
    items = [f"item {i}" for i in range(20)]

    def lists(values, most):
        return [list(rng.choice(values, rng.integers(0, most))) for _ in range(ROWS)]

    return pd.DataFrame(
        {
            "user": [f"user {i}" for i in rng.integers(0, 9, ROWS)],
            "age": rng.normal(40, 10, ROWS),
            "when": pd.Timestamp("2024-03-01") + pd.to_timedelta(rng.integers(0, 999, ROWS), "h"),
            "tags": lists(["a", "b", "c"], 4),
            "item": rng.choice(items, ROWS),
            "shop": rng.choice(["Oslo", "Rome"], ROWS),
            "price": rng.lognormal(size=ROWS),
            "seen": lists(items, 9),
            "bought": lists(items, 4),
            "label": rng.integers(0, 2, ROWS),
        }
    )


def model_of(name, schema=SCHEMA, **options):
    """A model whose weights are not those of its start, where some parts are silent."""
    train = datasets.from_pandas(raw(), Schema(schema), valid=0, test=0)[0]
    return moved(zoo.get(name, **{**SMALL.get(name, {}), **options}).adapt(train))


def moved(model):
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.2 * rng.normal(size=variable.shape).astype("float32"))
    return model


def parts(own=OWN, at=3, candidates=CANDIDATES):
    """A context, candidates, and both written out."""
    frame = raw(seed=2).drop(columns="label")
    row = frame.drop(columns=own).iloc[at].to_dict()
    items = frame[own].iloc[:candidates].reset_index(drop=True)
    whole = pd.concat([items, pd.DataFrame([row] * len(items))], axis=1)
    return row, items, whole


# Where models are compiled, one for each way to share: in attention, under a causal mask, in front.
NAMES = SMALL if keras.backend.backend() == "torch" else ["din", "onetrans", "hstu"]


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_the_predictions_of_the_rows_written_out(name):
    own = ["item"] if name == "hstu" else OWN  # its events see what is no candidate
    row, items, whole = parts(own)
    model = model_of(name)
    found = model.score(row, items)
    expected = model.predict(whole, verbose=0)
    assert found.shape == (CANDIDATES, 1) and found.dtype == np.float32
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.once
@pytest.mark.parametrize(
    "options",
    [
        {"pyramid": False, "granularity": "sublayer"},
        {"causal": False},
        {"groups": [["user", "item"], ["age", "when.hour", "tags", "shop", "price"]]},
        {"residual": keras_ctr.layers.residuals.deres(), "dropout": 0.5},
    ],
)
def test_every_form_of_the_backbone(options):
    row, items, whole = parts()
    if "groups" in options:  # all columns, in two groups
        names = Schema(SCHEMA).fields
        fields = [name for name in names if name not in ("seen", "bought")]
        options = {"groups": [fields[:4], fields[4:]]}
    model = model_of("onetrans", **options)
    np.testing.assert_allclose(model.score(row, items), model.predict(whole, verbose=0), atol=1e-6)


@pytest.mark.once
@pytest.mark.parametrize("name", ["din", "onetrans", "longer", "deres", "mhc"])
def test_histories_are_read_once(name, monkeypatch):
    model, seen = model_of(name), []
    called = model.called
    monkeypatch.setattr(model, "called", lambda x: seen.append(x) or called(x))
    row, items, _ = parts()
    model.score(row, items)
    assert [len(seen[0][key]) for key in ("ids", "values", "seen", "bought")] == [
        CANDIDATES,
        CANDIDATES,
        1,
        1,
    ]


def test_the_events_of_hstu_depend_on_its_context():
    model = model_of("hstu")
    assert model.shares_histories(["item"])
    assert not model.shares_histories(["item", "price"])  # one of the context
    row, items, whole = parts()
    np.testing.assert_allclose(model.score(row, items), model.predict(whole, verbose=0), atol=1e-6)


@pytest.mark.once
def test_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for name in ("onetrans", "din", "hstu"):
            own = ["item"] if name == "hstu" else OWN
            row, items, whole = parts(own)
            model = model_of(name)
            found, expected = model.score(row, items), model.predict(whole, verbose=0)
            np.testing.assert_allclose(found, expected, atol=0.02)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.once
def test_context_and_candidates_of_every_kind():
    model = model_of("din")
    row, items, _ = parts()
    expected = model.score(row, items)
    table = pd.DataFrame([row])
    moment = {"when": row["when"].to_numpy()}
    for context in (table, as_polars(table), [row], pd.Series(row), row | moment):
        np.testing.assert_array_equal(model.score(context, items), expected)
    for candidates in (
        items.to_dict("records"),
        items.to_dict("list"),
        as_polars(items),
        items.assign(unknown="to the model"),
    ):
        np.testing.assert_array_equal(model.score(row, candidates), expected)


@pytest.mark.once
def test_unseen_and_missing_values():
    model = model_of("onetrans")
    row, items, _ = parts()
    row |= {"user": "nobody", "age": None, "tags": [], "seen": ["new", "item 3"], "bought": []}
    items = items.astype(object)
    items.loc[0] = ["new", None, None]
    whole = [{**row, **item} for item in items.to_dict("records")]
    np.testing.assert_allclose(model.score(row, items), model.predict(whole), atol=1e-6)


@pytest.mark.once
def test_a_cross_of_the_context_and_the_candidates():
    crosses = [Cross("both", of=("user", "item")), Cross("theirs", of=("item", "shop"))]
    model = model_of("dnn", [*SCHEMA, *crosses])
    row, items, whole = parts()
    expected = model.predict(whole, verbose=0)
    for candidates in (items, items.to_dict("records")):
        np.testing.assert_allclose(model.score(row, candidates), expected, atol=1e-6)
    # Of the context alone.
    model = model_of("dnn", [*SCHEMA, Cross("ours", of=("user", "when.hour"))])
    np.testing.assert_allclose(model.score(row, items), model.predict(whole, verbose=0), atol=1e-6)


@pytest.mark.once
@pytest.mark.parametrize("own", [["item", "shop", "price", "when"], ["item"], ["when", "age"]])
def test_what_is_made_of_several_columns(own):
    """Crosses of parts of a time and of values of a number; the weights of a bag."""
    schema = [
        *(feature for feature in SCHEMA if feature.name != "tags"),
        Bag("tags", length=3, weights="w"),
        Categorical("hashed", hash_size=50),
        Cross("hour", of=("user", "when.hour")),
        Cross("value", of=("item", "price.value")),
        Cross("item hour", of=("item", "when.hour")),
    ]
    frame = raw().assign(hashed=lambda df: df["user"] + "x", price=lambda df: df["price"].round())
    frame["w"] = [[0.5 + at % 3] * len(tags) for at, tags in enumerate(frame["tags"])]
    train = datasets.from_pandas(frame, Schema(schema), valid=0, test=0)[0]
    rows = frame.drop(columns="label").iloc[:CANDIDATES]
    for more in ([], ["w", "tags"], ["hashed"]):
        context = rows.drop(columns=[*own, *more]).iloc[3].to_dict()
        items = rows[[*own, *more]].reset_index(drop=True)
        whole = pd.concat([items, pd.DataFrame([context] * len(items))], axis=1)
        for name in ("dnn", "din"):
            model = moved(zoo.get(name, **SMALL[name]).adapt(train))
            expected = model.predict(whole, verbose=0)
            for candidates in (items, items.to_dict("records")):
                np.testing.assert_allclose(model.score(context, candidates), expected, atol=1e-6)
    # One weight per value, of which candidates have the one and the context the other.
    context = rows.drop(columns=[*own, "w"]).iloc[3].to_dict()
    items = (
        rows[own]
        .reset_index(drop=True)
        .assign(w=[[at + 0.5] * len(context["tags"]) for at in range(CANDIDATES)])
    )
    whole = [{**context, **item} for item in items.to_dict("records")]
    np.testing.assert_allclose(model.score(context, items), model.predict(whole), atol=1e-6)


@pytest.mark.once
def test_histories_and_lists_of_the_candidates():
    own = ["shop", "price", "bought", "tags"]
    row, items, whole = parts(own)
    for name in ("onetrans", "din"):
        model = model_of(name)
        expected = model.predict(whole, verbose=0)
        for candidates in (items, items.to_dict("records")):
            np.testing.assert_allclose(model.score(row, candidates), expected, atol=1e-6)


@pytest.mark.once
def test_from_none_to_thousands_of_candidates():
    model = model_of("onetrans")
    row, items, whole = parts(candidates=ROWS)
    assert model.score(row, items.iloc[:0]).shape == (0, 1)
    assert model.score(row, []).shape == (0, 1)
    one = model.score(row, items.iloc[:1])
    np.testing.assert_allclose(one, model.predict(whole.iloc[:1]), atol=1e-6)
    many = pd.concat([items] * 11)  # 2,200
    expected = np.tile(model.predict(whole, verbose=0), (11, 1))
    np.testing.assert_allclose(model.score(row, many), expected, atol=1e-6)


@pytest.mark.once
def test_packed_arrays():
    model = model_of("onetrans")
    row, items, whole = parts()
    arrays = model.encoder.encode(whole, label=False)
    lists = [s.name for s in model.schema.sequences]
    context = {key: arrays[key][:1] for key in lists}
    rest = {key: array for key, array in arrays.items() if key not in lists}
    expected = model.score(row, items)
    np.testing.assert_allclose(model.score(context, rest), expected, atol=1e-6)
    assert model.score(context, {key: array[:0] for key, array in rest.items()}).shape == (0, 1)
    with pytest.raises(ValueError, match="one row"):
        model.score({key: arrays[key] for key in lists}, rest)
    with pytest.raises(ValueError, match="seen"):
        model.score({"bought": context["bought"]}, rest)
    for wrong in (rest | {"values": rest["values"][:1]}, {}):
        with pytest.raises(ValueError, match="one height|every column"):
            model.score(context, wrong)
    with pytest.raises(ValueError, match="out of range|ids"):
        model.score({**context, "seen": context["seen"] + 99}, rest)


@pytest.mark.once
def test_recalibrated():
    model = model_of("onetrans")
    row, items, whole = parts()
    model.compile()
    before = model.score(row, items)
    labels = np.arange(CANDIDATES) % 5 == 0
    model.recalibrate((model.encoder.encode(whole, label=False), labels.astype("float32")))
    after = model.score(row, items)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, model.predict(whole, verbose=0), atol=1e-6)


@pytest.mark.once
def test_bad_input():
    model = model_of("din")
    row, items, _ = parts()
    with pytest.raises(ValueError, match="in both user"):
        model.score(row, items.assign(user="user 1"))
    with pytest.raises(ValueError, match="neither with price"):
        model.score(row, items.drop(columns="price"))
    with pytest.raises(ValueError, match="one row.*2 rows"):
        model.score(pd.DataFrame([row] * 2), items)
    with pytest.raises(ValueError, match="price"):
        model.score(row, items.assign(price="cheap"))
    with pytest.raises(ValueError, match="adapt"):
        zoo.get("din").score(row, items)
    with pytest.raises(ValueError, match="a column of the schema"):
        model.score({**row, **items.iloc[0]}, [{"id": 1}, {"id": 2}])
    listed = items.to_dict("records")
    listed[2]["user"] = "user 3"
    with pytest.raises(ValueError, match="in both user"):
        model.score(row, listed)
    with pytest.raises(ValueError, match="dicts, one per row"):
        model.score(row, [1, 2])


@pytest.mark.once
def test_attention_must_be_causal():
    x, first = np.ones((2, 3, 4), "float32"), np.ones((1, 5, 4), "float32")
    layer = keras_ctr.layers.SelfAttention(2)
    layer.build((None, 8, 4))
    with pytest.raises(ValueError, match="causal"):
        layer(x, first=first)
