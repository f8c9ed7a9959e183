"""Sample weights: a column of the data, in loss and metrics."""

import keras
import numpy as np
import pandas as pd
import pytest

from keras_ctr import Categorical, Schema, Time, datasets, zoo
from keras_ctr.losses import LogLoss


def frames(rows=300):
    """A frame with whole weights, and one in which each row stands as often as its weight says."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {
            "city": rng.choice(["Rome", "Oslo", "Lima"], rows),
            "user": rng.integers(0, 40, rows).astype(str),
            "time": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 50, rows), "D"),
            "w": rng.integers(0, 4, rows),
            "click": rng.integers(0, 2, rows),
        }
    )
    return df, df.loc[df.index.repeat(df["w"])].assign(w=1)


SCHEMA = Schema([Categorical("city")], label="click", weight="w")
COLUMNS = ["city", "click", "w"]


def test_a_weight_is_as_many_rows(tmp_path):
    df, repeated = (frame[COLUMNS] for frame in frames())
    train, valid, _ = datasets.from_pandas(df, SCHEMA, valid=df, test=0, batch_size=10**6)
    often, _, _ = datasets.from_pandas(repeated, SCHEMA, valid=0, test=0, batch_size=10**6)
    np.testing.assert_array_equal(train.weights, df["w"])
    model = zoo.get("lr").adapt(train)
    model.compile(keras.optimizers.SGD(0.5))
    start = model.get_weights()
    expected = model.evaluate(often, return_dict=True, verbose=0)
    for data in (valid, df):  # a data set, and raw rows
        found = model.evaluate(data, return_dict=True, verbose=0)
        for name in ("auc", "logloss"):
            assert found[name] == pytest.approx(expected[name], rel=1e-6)
    model.fit(train, verbose=0)
    weighted = model.get_weights()
    model.set_weights(start)
    model.fit(df, batch_size=10**6, verbose=0)
    for one, other in zip(weighted, model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    model.set_weights(start)
    zeros = [np.abs(a - b).max() for a, b in zip(start, weighted, strict=True)]
    assert max(zeros) > 1e-3


def test_a_weight_of_two_is_the_row_twice_in_loss_and_step():
    df, repeated = (frame[COLUMNS] for frame in frames())
    train, _, _ = datasets.from_pandas(df, SCHEMA, valid=0, test=0)
    model = zoo.get("deepfm", embedding_dim=4, hidden_units=[8], dropout=0.0).adapt(train)
    model.compile(keras.optimizers.SGD(0.01), loss=LogLoss(reduction="sum"))
    start, moved = model.get_weights(), []
    for frame in (df, repeated):
        model.set_weights(start)
        model.fit(frame, batch_size=10**6, epochs=2, verbose=0)
        moved.append(model.get_weights())
    assert max(np.abs(a - b).max() for a, b in zip(start, moved[0], strict=True)) > 1e-2
    for one, other in zip(*moved, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    model.compile(keras.optimizers.SGD(0.01))  # the mean: divided by the sum of the weights
    found, expected = (model.evaluate(f, return_dict=True, verbose=0) for f in (df, repeated))
    assert found == pytest.approx(expected, rel=1e-6)
    history = model.fit(df, validation_data=df, verbose=0).history
    found = model.evaluate(df, return_dict=True, verbose=0)
    assert history["val_loss"][0] == pytest.approx(found["loss"], rel=1e-6)


def test_weights_are_not_looked_at_to_predict_and_not_all_zero():
    df = frames()[0][COLUMNS]
    train, _, _ = datasets.from_pandas(df, SCHEMA, valid=0, test=0)
    model = zoo.get("lr").adapt(train)
    expected = model.predict(df.drop(columns=["w", "click"]), verbose=0)
    np.testing.assert_array_equal(model.predict(df.assign(w=-1), verbose=0), expected)
    with pytest.raises(ValueError, match="'w' must not be 0 in every row. Received: 300 rows"):
        datasets.from_pandas(df.assign(w=0), SCHEMA, valid=0, test=0)
    model.compile()
    with pytest.raises(ValueError, match="a row whose weight is not 0"):
        model.evaluate(df.assign(w=0), verbose=0)


@pytest.mark.once
def test_weights_say_what_is_wrong(tmp_path):
    df = frames()[0][COLUMNS]
    for value, said in ((-1, "-1 at row 3"), (None, "no value at row 3|nan at row 3")):
        wrong = df.astype({"w": object})
        wrong.loc[3, "w"] = value
        with pytest.raises(ValueError, match=f"weight 'w' must be.*({said})"):
            datasets.from_pandas(wrong, SCHEMA, valid=0, test=0)
    with pytest.raises(ValueError, match="weight 'w' must not be a feature"):
        Schema([Categorical("w")], label="click", weight="w")
    df.to_csv(tmp_path / "log.csv", index=False)
    train, _, _ = datasets.load(tmp_path / "log.csv", label="click", weight="w", cache=tmp_path)
    assert train.weights is not None and train.schema.weight == "w"


# Which rows are held out


@pytest.mark.once
def test_no_group_is_in_two_parts(tmp_path):
    df, _ = frames(2000)
    df.to_csv(tmp_path / "log.csv", index=False)
    for parts in (
        datasets.from_pandas(df, label="click", group="user", split="group"),
        datasets.load(
            tmp_path / "log.csv", label="click", group="user", split="group", cache=tmp_path
        ),
    ):
        users = [set(part.groups.tolist()) for part in parts]
        assert all(users) and sum(map(len, users)) == len(set.union(*users)) == 40
    with pytest.raises(ValueError, match="needs the name of the `group` column"):
        datasets.from_pandas(df, label="click", split="group")


@pytest.mark.once
def test_the_newest_rows_are_held_out():
    df, _ = frames(2000)
    df = df.assign(day=(df["time"] - df["time"].min()).dt.days.astype(float) + 0.5)
    schema = Schema([Categorical("city")], label="click", group="day")
    df = df[["city", "click", "day"]]
    parts = datasets.from_pandas(df, schema, split=Time("day"))
    groups = [set(part.groups.tolist()) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups))  # no day in two parts
    sizes = [part.num_rows for part in parts]
    assert sum(sizes) == 2000 and 150 < sizes[1] < 300 and 150 < sizes[2] < 300
    with pytest.raises(ValueError, match="must hold a moment in every row"):
        datasets.from_pandas(df.assign(day=None), schema, split=Time("day"))
    with pytest.raises(ValueError, match="`split` must be"):
        datasets.from_pandas(df, schema, split="time")
