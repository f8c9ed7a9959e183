"""What keeps probabilities honest: sampled negatives, class weights, recalibration, reliability."""

import sys

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops
from scipy.special import expit

from keras_ctr import datasets, metrics, zoo
from keras_ctr.datasets import reader
from keras_ctr.losses import LogLoss, on_sampled_odds


def frame(rows, rate_logit, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(5, size=rows), rng.integers(6, size=rows)
    logit = rate_logit + np.linspace(-1, 1, 5)[a] + np.linspace(-1, 1, 6)[b]
    y = (rng.random(rows) < expit(logit)).astype(int)
    return pd.DataFrame({"a": [f"a{i}" for i in a], "b": [f"b{i}" for i in b], "y": y})


def true_mean(rate_logit):
    """The mean click probability of a `frame` with many rows."""
    return expit(rate_logit + np.linspace(-1, 1, 5)[:, None] + np.linspace(-1, 1, 6)).mean()


def split(rows, rate_logit, **options):
    return datasets.from_pandas(frame(rows, rate_logit), label="y", test=0.0, **options)


def model(name="lr", learning_rate=0.01, **arguments):
    keras.utils.set_random_seed(1)
    made = zoo.get(name, **arguments)
    made.compile(keras.optimizers.Adam(learning_rate))
    return made


def ratio(made, data):
    return float(made.predict(data, verbose=0).mean() / data.labels.mean())


class TestNegatives:
    def test_an_epoch(self, monkeypatch):
        monkeypatch.setattr(reader, "BLOCK", 64)
        train = split(4000, -3.0, batch_size=50)[0].with_options(batch_size=50)
        view = train.with_options(negatives=0.1)
        clicks = train.positives
        kept = round(0.1 * (train.num_rows - clicks))
        assert view.num_rows == clicks + kept and len(view) == -(-view.num_rows // 50)
        assert view.positives == clicks and len(view.labels) == train.num_rows
        assert view.with_options(batch_size=7).negatives == 0.1
        assert view.without_sequences().num_rows == view.num_rows

        def rows(view):
            numbers = [view._shuffled(view.epoch, at, at + 1)[0] for at in range(view.num_rows)]
            labels = np.concatenate([view[at][1] for at in range(len(view))])
            assert len(labels) == view.num_rows and labels.sum() == clicks
            assert len(set(numbers)) == len(numbers)
            return numbers

        first = rows(view)
        assert first == rows(train.with_options(negatives=0.1))
        assert first != sorted(first)
        assert sorted(first) != sorted(rows(train.with_options(negatives=0.1, seed=5)))
        plain = rows(view.with_options(shuffle=False))
        assert plain == sorted(plain) == sorted(first)
        seen, times = set(), np.zeros(train.num_rows)
        for _ in range(100):
            numbers = rows(view)
            seen.add(tuple(sorted(numbers)))
            times[numbers] += 1
            view.on_epoch_end()
        assert len(seen) == 100
        others = train.labels[:, 0] < 0.5
        assert (times[~others] == 100).all()
        assert abs(times[others].mean() - 100 * kept / others.sum()) < 1e-9
        assert times[others].max() < 30  # binomial: 10 ± 3

    @pytest.mark.parametrize("share", [0, 1.5, "all"])
    def test_bad_shares(self, share):
        with pytest.raises(ValueError, match="`negatives` must be a share"):
            split(100, 0.0)[0].with_options(negatives=share)
        with pytest.raises(ValueError, match="must leave a negative"):
            len(split(100, 0.0)[0].with_options(negatives=1e-9))

    def test_the_loss_is_that_of_sampled_odds(self):
        z = np.linspace(-30, 15, 91)
        p = ops.convert_to_tensor(expit(z)[:, None].astype("float32"))
        for y in (0.0, 1.0):
            with (loss := LogLoss(reduction=None)).of_sampled(0.05):
                found = ops.convert_to_numpy(loss(np.full((91, 1), y, "float32"), p))
            shifted = z - np.log(0.05)
            wanted = np.logaddexp(0, -shifted if y else shifted)
            np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=2e-6)
        after = ops.convert_to_numpy(loss(np.ones((91, 1), "float32"), p))
        np.testing.assert_allclose(after, np.logaddexp(0, -z), rtol=2e-2, atol=2e-6)
        np.testing.assert_allclose(
            ops.convert_to_numpy(on_sampled_odds(p, 0.05))[:, 0], expit(shifted), rtol=1e-5
        )

    @pytest.mark.once
    @pytest.mark.parametrize(
        "name, arguments",
        [
            ("lr", {}),
            ("dcnv2", {"tower": "tabm", "hidden_units": [8], "embedding_dim": 4}),
            ("finalnet", {"hidden_units": [8], "embedding_dim": 4}),
        ],
    )
    def test_calibrated_on_all_rows(self, name, arguments, monkeypatch):
        train, valid, _ = datasets.from_pandas(
            frame(120_000, -4.4), label="y", valid=frame(120_000, -4.4, seed=1), test=0.0
        )
        assert 0.015 < train.positives / train.num_rows < 0.025
        view = train.with_options(negatives=0.05, batch_size=256)
        rate = 0.1 if name == "lr" else 0.01
        made = model(name, rate, **arguments)

        def fit():
            for factor, epochs in ((1.0, 3), (0.1, 2), (0.01, 2)):
                made.optimizer.learning_rate.assign(factor * rate)
                made.fit(view, epochs=epochs, verbose=0)

        fit()
        share = valid.labels.mean() / train.labels.mean()  # chance in the labels
        assert abs(ratio(made, valid) * share - 1) < 0.02
        if name == "lr":
            made.evaluate(view, verbose=0)
            history = made.fit(view, validation_data=valid, verbose=0).history
            assert history["loss"][0] > 0.3 > history["val_loss"][0]
            made.fit(train.with_options(negatives=1.0), verbose=0)
            assert abs(ratio(made, valid) * share - 1) < 0.05  # the step is made anew
            monkeypatch.setattr(made, "_learn_from", lambda *args: None)
            fit()
            assert ratio(made, valid) > 5

    @pytest.mark.parametrize("loss", ["binary_crossentropy", None])
    def test_training_metrics_are_of_the_sample(self, loss):
        train, *_ = split(20_000, -4.4)
        made = zoo.get("lr")
        made.compile(keras.optimizers.SGD(0.0), loss, metrics=["binary_crossentropy"])
        logs = made.fit(train.with_options(negatives=0.05, batch_size=512), verbose=0).history
        [[shown], [metric]] = logs["loss"], logs["binary_crossentropy"]
        assert abs(shown - metric) < 1e-3
        # Every p is 1/2, so every sampled one is 1/1.05.
        rate = train.positives / train.with_options(negatives=0.05).num_rows
        assert abs(shown + rate * np.log(1 / 1.05) + (1 - rate) * np.log(0.05 / 1.05)) < 1e-3


class TestClassWeights:
    @pytest.mark.parametrize("kind", ["data set", "arrays", "frame"])
    def test_they_weigh(self, kind):
        train, *_ = split(4000, -1.5, batch_size=100)
        every = [train.with_options(batch_size=10**6, shuffle=False)[0]]
        [(batch, label)] = every
        found = []
        for weights in ({0: 1, 1: 5}, "balanced", {1: 1.0}):
            made = model("lr", 0.05).adapt(train)
            if kind == "data set":
                made.fit(train, class_weight=weights, epochs=8, verbose=0)
            elif kind == "arrays":
                made.fit(batch, label, 100, class_weight=weights, epochs=8, verbose=0)
            else:
                rows = frame(4000, -1.5)
                made.fit(rows, batch_size=100, class_weight=weights, epochs=8, verbose=0)
            found.append(made.predict(train, verbose=0).mean())
        rate = label.mean()
        for mean, ratio in zip(found, (5, (1 - rate) / rate, 1), strict=True):
            assert abs(mean - true_mean(-1.5 + np.log(ratio))) < 0.05

    def test_with_sample_weights(self):
        train, *_ = split(1000, -1.0)
        batch, label = train.with_options(batch_size=10**6, shuffle=False)[0]
        weight = np.random.default_rng(0).uniform(0.5, 2, len(label)).astype("float32")
        weighted = weight * np.where(label[:, 0] > 0, 3, 0.5).astype("float32")

        def loss(weight, **options):
            made = model().adapt(train)
            history = made.fit(
                batch, label, 100, sample_weight=weight, verbose=0, shuffle=False, **options
            )
            return history.history["loss"][0]

        assert loss(weight, class_weight={0: 0.5, 1: 3}) == pytest.approx(loss(weighted), rel=1e-5)
        assert loss(weight) != pytest.approx(loss(weighted), rel=1e-2)

    @pytest.mark.parametrize("weights", [{2: 1.0}, {0: -1.0}, "even", [1, 5]])
    def test_bad_ones(self, weights):
        with pytest.raises(ValueError, match="`class_weight` must be"):
            model().fit(split(100, 0.0)[0], class_weight=weights, verbose=0)


class TestRecalibration:
    @pytest.fixture(scope="class")
    def data(self):
        return split(40_000, -2.0, batch_size=1000, valid=0.5)

    @pytest.fixture
    def confident(self, data):
        """A model whose logits are three times too large, on either side of -1."""
        made = model().adapt(data[0])
        made.fit(data[0], epochs=15, verbose=0)
        for weight in made.trainable_weights:
            weight.assign(weight * 3.0)
        return made

    def test_a_slope_below_zero_is_warned_of(self, data, confident):
        batch, labels = data[1][0]
        with pytest.warns(UserWarning, match="turned round"):
            confident.recalibrate((batch, 1 - np.asarray(labels)))

    @pytest.mark.parametrize("method", ["platt", "isotonic"])
    def test_becomes_calibrated(self, data, confident, method, tmp_path):
        test = data[1]
        labels = test.labels
        before = confident.predict(test, verbose=0)
        assert abs(metrics.calibration(labels, before) - 1) > 0.2
        assert confident.recalibrate(data[0], method=method) is confident
        p = confident.predict(test, verbose=0)
        assert abs(metrics.calibration(labels, p) - 1) < 0.05
        assert metrics.normalized_entropy(labels, p) < min(
            0.99, metrics.normalized_entropy(labels, before) - 0.02
        )
        if method == "platt":
            assert abs(metrics.auc(labels, p) - metrics.auc(labels, before)) < 1e-5
        assert 0 < p.min() and p.max() < 1
        logs = confident.evaluate(test, verbose=0, return_dict=True)
        assert logs["logloss"] == pytest.approx(metrics.log_loss(labels, p), rel=1e-5)
        batch = test[0][0]
        called = ops.convert_to_numpy(
            confident({k: ops.convert_to_tensor(a) for k, a in batch.items()})
        )
        np.testing.assert_allclose(called, p[: len(called)], rtol=1e-5)
        confident.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded.predict(test, verbose=0), p)
        loaded.recalibrate(None)
        np.testing.assert_array_equal(loaded.predict(test, verbose=0), before)
        assert "recalibration" not in loaded.get_config()
        with pytest.warns(UserWarning, match="call `recalibrate` again"):
            confident.fit(data[0], verbose=0)
        assert confident.click.recalibration is None

    def test_twice_is_as_once(self, data, confident):
        once = confident.recalibrate(data[0]).predict(data[1], verbose=0)
        np.testing.assert_array_equal(
            confident.recalibrate(data[0]).predict(data[1], verbose=0), once
        )

    def test_of_an_ensemble(self, data):
        made = model("dcnv2", tower="tabm", hidden_units=[8], embedding_dim=4).adapt(data[0])
        made.fit(data[0], epochs=1, verbose=0, class_weight={1: 5.0})
        assert ratio(made, data[1]) > 1.5
        batch, label = data[0].with_options(batch_size=10**6, shuffle=False)[0]
        made.recalibrate((batch, label))
        assert abs(ratio(made, data[1]) - 1) < 0.05

    def test_bad_data(self, data, confident):
        batch, label = data[0][0]
        with pytest.raises(ValueError, match="clicks and others"):
            confident.recalibrate((batch, 0 * label))
        with pytest.raises(ValueError, match="`method` must be one of"):
            confident.recalibrate(data[0], method="beta")

    def test_scikit_learn_is_named(self, data, confident, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.isotonic", None)
        with pytest.raises(ImportError, match="pip install scikit-learn"):
            confident.recalibrate(data[0])


@pytest.mark.once
class TestReliability:
    def test_deciles(self):
        rng = np.random.default_rng(0)
        p = rng.random(100_000)
        table = metrics.reliability(rng.random(100_000) < p / 2, p)
        assert [row["rows"] for row in table] == [10_000] * 10
        assert [round(row["prediction"], 2) for row in table] == [
            pytest.approx(0.05 + 0.1 * at, abs=0.011) for at in range(10)
        ]
        assert all(abs(row["ratio"] - 2) < 0.15 for row in table[1:])
        assert list(pd.DataFrame(table)) == ["rows", "prediction", "click_rate", "ratio"]

    def test_weights_are_copies(self):
        rng = np.random.default_rng(0)
        y, p, times = rng.integers(2, size=200), rng.random(200), rng.integers(0, 4, size=200)
        copies = metrics.reliability(np.repeat(y, times), np.repeat(p, times), 5)
        weighted = metrics.reliability(y, p, 5, times)
        for one, other in zip(copies, weighted, strict=True):
            del one["rows"], other["rows"]
            assert one == pytest.approx(other)
        for function in (metrics.normalized_entropy, metrics.calibration):
            assert function(y, p, times) == pytest.approx(
                function(np.repeat(y, times), np.repeat(p, times))
            )

    def test_ties_and_no_clicks(self):
        [row] = metrics.reliability(np.zeros(5), np.full(5, 0.5))
        assert row["rows"] == 5 and np.isnan(row["ratio"])
        with pytest.raises(ValueError, match="`bins` must be at least 1"):
            metrics.reliability([0, 1], [0.1, 0.2], bins=0)
