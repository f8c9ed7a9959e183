"""A few raw rows: encoded without a frame bit for bit alike, and predicted by one compiled call."""

import datetime

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from test_columns import EVERY, every_frame

from keras_ctr import (
    Categorical,
    Cross,
    Encoder,
    Numeric,
    Schema,
    Sequence,
    Time,
    datasets,
    testing,
    zoo,
)

ENCODED = Schema(
    [
        Categorical("text"),
        Categorical("id", 10),
        Categorical("bucket", buckets=5, fill=0.5),
        Categorical("log2", buckets="log2", fill=1),
        Categorical("filled", fill="q"),
        Categorical("flag"),
        Time("time", parts=("hour", "weekday", "day", "days", "week_cycle")),
        Sequence("seen", of="id", length=4, keep="first"),
        Sequence("last", of="text", length=3),
        Numeric("log", transform="log"),
        Numeric("rank", transform="quantile", codes=2, flag=True),
        Cross("crossed", of=("text", "time.hour", "filled")),
    ]
)


def plain_frame(rows, seed):
    rng = np.random.default_rng(seed)
    texts = ["x", "14", "14.0", "True", "true", "é日", "", None, "y"]
    start = datetime.datetime(2024, 2, 28)
    hours = rng.integers(0, 9000, rows)

    def some(values, most):
        return [[values[i] for i in rng.integers(0, len(values), n)] for n in most]

    def gaps(values):
        return [None if gone else v for v, gone in zip(values, rng.random(rows) < 0.1, strict=True)]

    return pl.DataFrame(
        {
            "text": [texts[i] for i in rng.integers(0, len(texts), rows)],
            "id": rng.integers(0, 10, rows),
            "bucket": gaps(rng.normal(size=rows).tolist()),
            "log2": gaps(rng.integers(-5, 9000, rows).tolist()),
            "filled": [None if i else "z" for i in rng.integers(0, 2, rows)],
            "flag": (rng.random(rows) < 0.5).tolist(),
            "time": gaps([start + datetime.timedelta(hours=int(h), seconds=7) for h in hours]),
            "seen": some(list(range(10)), rng.integers(0, 9, rows)),
            "last": some(["x", "14.0", "y", "new"], rng.integers(0, 6, rows)),
            "log": gaps((rng.normal(size=rows) * 100).tolist()),
            "rank": gaps(rng.lognormal(size=rows).round(1).tolist()),
            "label": (rng.random(rows) < 0.4).astype("int64"),
        }
    )


@pytest.mark.once
class TestEncoding:
    @pytest.mark.parametrize("rows", [1, 2, 100])
    @pytest.mark.parametrize(
        ("schema", "make"), [(ENCODED, plain_frame), (EVERY, every_frame)], ids=["plain", "every"]
    )
    def test_bit_for_bit_as_a_frame(self, schema, make, rows):
        encoder = Encoder(schema).fit(make(300, 0))
        for seed in range(1, 9):
            frame = make(rows + 1, seed).tail(rows)
            expected = encoder.encode(frame, label=False)
            for given in (frame, frame.to_dicts(), frame.to_dict(as_series=False)):
                found = encoder.encode_few(given)
                assert found is not None
                for key, array in found.items():
                    np.testing.assert_array_equal(array, expected[key], err_msg=key)
                    assert array.dtype == expected[key].dtype and array.flags.c_contiguous

    def test_pandas(self):
        frame = pd.DataFrame({"a": ["x", None, "y"], "b": [1.5, np.nan, 2.0], "c": [3, 4, 3]})
        schema = Schema([Categorical("a"), Numeric("b"), Categorical("c")])
        encoder = Encoder(schema).fit(frame.assign(label=[0, 1, 0]))
        expected = encoder.encode(frame, label=False)
        for key, array in encoder.encode_few(frame).items():
            np.testing.assert_array_equal(array, expected[key])

    @pytest.mark.parametrize(
        "change",
        [
            {"log": "12.5"},
            {"log": float("inf")},
            {"log": np.float32(2)},
            {"id": 10},
            {"text": b"x"},
            {"text": 1e-9},
            {"text": 2**70},
            {"time": "2024-02-28"},
            {"time": datetime.date(2024, 2, 28)},
            {"seen": ("1", "2")},
            {"rank": {"a": 1}},
        ],
        ids=str,
    )
    def test_all_else_is_left_to_the_frame(self, change):
        encoder = Encoder(ENCODED).fit(plain_frame(300, 0))
        assert encoder.encode_few([plain_frame(1, 1).to_dicts()[0] | change]) is None

    def test_rows_of_a_pandas_frame(self):
        """Whose values are NumPy's, and whose moments are pandas's."""
        encoder = Encoder(ENCODED).fit(plain_frame(300, 0))
        listed = plain_frame(30, 1)
        frame = pd.DataFrame(listed.to_dict(as_series=False))
        rows = [frame.iloc[at].to_dict() for at in range(30)]
        rows[0] |= {"seen": np.array([1, 2]), "text": np.str_("x"), "id": np.int64(3)}
        listed = listed.to_dicts()
        listed[0] |= {"seen": [1, 2], "text": "x", "id": 3}
        rows[1]["time"] = np.datetime64("2024-02-28T05:00:00", "ns")
        listed[1]["time"] = datetime.datetime(2024, 2, 28, 5)
        found, expected = encoder.encode_few(rows), encoder.encode(listed, label=False)
        for key, array in found.items():
            np.testing.assert_array_equal(array, expected[key])

    def test_truth_beside_numbers(self):
        rows = [{"a": True, "label": 0}, {"a": 1, "label": 1}]
        encoder = Encoder(Schema([Categorical("a")])).fit(rows)
        assert encoder.encode_few(rows) is None
        assert encoder.encode_few(rows[:1]) is not None

    def test_what_it_does_not_take(self):
        encoder = Encoder(ENCODED)
        assert encoder.encode_few([{}]) is None
        encoder.fit(plain_frame(300, 0))
        frame = plain_frame(1000, 0)
        for rows in ([], [{}], {}, frame, frame.lazy(), "text", None, frame.head(0)):
            assert encoder.encode_few(rows) is None


class TestPredicting:
    @pytest.fixture(scope="class")
    def model(self):
        train = datasets.from_pandas(plain_frame(300, 0), ENCODED, valid=0, test=0)[0]
        model = zoo.get("din", embedding_dim=4, hidden_units=[8]).adapt(train)
        for weight in model.trainable_weights:
            weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
        return model

    @pytest.mark.parametrize("rows", [1, 3, 64])
    def test_as_the_loop_of_keras(self, model, rows):
        frame = plain_frame(rows, 1)
        looped = model.predict(frame, batch_size=rows, verbose=0)
        found = model.predict(frame, verbose=0)
        assert found.shape == (rows, 1) and found.dtype == np.float32
        np.testing.assert_allclose(found, looped, atol=1e-6)
        assert (found != model.predict(frame.head(1), verbose=0)).any() or rows == 1

    def test_sizes_are_few(self, model):
        """Of 33 to 64 rows: what is added up to 64 changes nothing."""
        called = [model.predict(plain_frame(64, 1).head(rows)) for rows in (33, 50, 64)]
        for found in called:
            np.testing.assert_allclose(found, called[-1][: len(found)], atol=1e-6)

    def test_weights_and_recalibration_at_the_time(self, model):
        frame = plain_frame(200, 2)
        before = model.predict(frame)
        bias = model.click.bias
        value = keras.ops.convert_to_numpy(bias).copy()
        bias.assign(value + 1.0)
        assert (model.predict(frame) > before).all()
        bias.assign(value)
        np.testing.assert_array_equal(model.predict(frame), before)
        model.recalibrate(plain_frame(300, 0))
        assert np.abs(model.predict(frame) - before).max() > 1e-4
        model.recalibrate(None)
        np.testing.assert_array_equal(model.predict(frame), before)

    def test_a_step_of_ones_own_is_kept(self):
        class Half(type(zoo.get("lr"))):
            def predict_step(self, *args):  # on JAX, of a state and the data
                found = super().predict_step(*args)
                return (found[0] / 2, found[1]) if isinstance(found, tuple) else found / 2

        schema = testing.example_schema()
        batch, _ = testing.example_batch(schema)
        model = Half().adapt(schema)
        half = model.predict(batch, verbose=0)
        np.testing.assert_allclose(half, 0.5 * keras.ops.convert_to_numpy(model(batch)), rtol=1e-5)
