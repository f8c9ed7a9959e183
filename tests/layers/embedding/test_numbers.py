"""Embeddings of numbers against NumPy, column by column, as the papers write them."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import Numeric, Schema, layers, testing, zoo

BINS = [[0.0, 1.0, 3.0], [-2.0, 2.0], [10.0, 20.0, 40.0, 41.0]]


def numpy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def randomised(layer, rng):
    """Gives a built layer random weights, and returns them by name."""
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return {w.path.split("/")[-1]: numpy(w) for w in layer.weights}


def encoded(x, edges):
    """The encoding of one value, bin by bin."""
    found = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        found.append(0.0 if x < low else 1.0 if x >= high else (x - low) / (high - low))
    return np.array(found)


class TestPiecewiseLinearEmbedding:
    def test_oracle(self, rng):
        x = np.array([[0.5, 0.0, 15], [2, -1, 30], [9, -7, 40.25], [-9, 9, 5]], "float32")
        layer = layers.PiecewiseLinearEmbedding(2, BINS, activation="tanh")
        layer(x)
        w = randomised(layer, rng)
        expected = np.zeros((4, 3, 2))
        for row, column in np.ndindex(4, 3):
            e = encoded(x[row, column], BINS[column])
            curve = e @ w["vectors"][column, : len(e)] + w["bias"][column]
            expected[row, column] = np.tanh(curve)
        np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-5, atol=1e-6)

    def test_by_hand(self):
        """With vectors 1, 10, 100 of three bins, the curve shows the encoding in its digits."""
        layer = layers.PiecewiseLinearEmbedding(1, BINS)
        layer.build((None, 3))
        layer.vectors.assign(np.broadcast_to(np.array([1, 10, 100.0])[:, None], (3, 3, 1)))
        layer.bias.assign(np.zeros((3, 1)))
        x = np.array([[0.5, 1, 15], [2, 0, 30], [3, 2, 40.5], [100, 100, 100], [-5, -5, -5]])
        found = numpy(layer(x.astype("float32")))[..., 0]
        expected = [[0.5, 0.75, 0.5], [6, 0.5, 6], [11, 1, 61], [11, 1, 111], [0, 0, 0]]
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_large_values_keep_their_place(self):
        """Seconds since 1970: the difference to an edge is exact, a product would not be."""
        start = 1.7e9
        layer = layers.PiecewiseLinearEmbedding(1, [[start, start + 1024]], initializer="ones")
        found = numpy(layer(np.array([[start + 512]], "float32")))
        np.testing.assert_allclose(found, [[[1.5]]], rtol=1e-6)

    def test_values_are_not_rounded_first_in_half_precision(self):
        """At 1001 bfloat16 has steps of 4; the bin is 4 wide."""
        layer = layers.PiecewiseLinearEmbedding(
            1, [[1000.0, 1004.0]], initializer="ones", dtype="mixed_bfloat16"
        )
        found = layer(np.array([[1001.0]], "float32"))
        assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
        assert numpy(found).item() == pytest.approx(1.25, rel=1e-2)

    def test_bins_are_plain_numbers_in_the_config(self):
        bins = [np.array([0.0, 1.0], "float32"), (2, 3)]
        config = layers.PiecewiseLinearEmbedding(2, bins).get_config()
        assert config["bins"] == [[0.0, 1.0], [2.0, 3.0]]

    def test_the_two_weights_do_not_start_alike(self):
        """Neither by default nor with a given object, which would repeat its draws."""
        for initializer in (None, keras.initializers.RandomNormal(), "glorot_normal"):
            layer = layers.PiecewiseLinearEmbedding(4, [[0.0, 1.0]], initializer=initializer)
            layer.build((None, 1))
            assert not np.allclose(numpy(layer.vectors)[0], numpy(layer.bias))

    def test_bad_input(self, rng):
        for bins in ([[0.0]], [[0.0, 0.0]], [[1.0, 0.0]], [], [[0.0, np.inf]], [[0.0, np.nan]]):
            with pytest.raises(ValueError, match="`bins` must .*Received"):
                layers.PiecewiseLinearEmbedding(2, bins)
        with pytest.raises(ValueError, match="3 lists of `bins`"):
            layers.PiecewiseLinearEmbedding(2, BINS)(np.zeros((1, 2), "float32"))


class TestPeriodicEmbedding:
    @pytest.mark.parametrize("activation", ["relu", "linear"])
    def test_oracle(self, rng, activation):
        x = rng.normal(size=(5, 3)).astype("float32")
        layer = layers.PeriodicEmbedding(4, 6, activation=activation)
        layer(x)
        w = randomised(layer, rng)
        expected = np.zeros((5, 3, 4))
        for row, column in np.ndindex(5, 3):
            v = 2 * np.pi * w["frequencies"][column] * x[row, column]
            waves = np.concatenate([np.sin(v), np.cos(v)])
            expected[row, column] = waves @ w["kernel"][column] + w["bias"][column]
        expected = np.maximum(expected, 0) if activation == "relu" else expected
        np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-3, atol=1e-4)

    def test_frequencies_are_normal(self):
        layer = layers.PeriodicEmbedding(1, 500, frequency_scale=0.3)
        layer.build((None, 4))
        assert numpy(layer.frequencies).std() == pytest.approx(0.3, rel=0.1)

    def test_waves_are_exact_in_half_precision(self):
        """A value of 100.25, rounded to bfloat16, would be a quarter of a period off."""
        layer = layers.PeriodicEmbedding(
            1, 1, activation="linear", initializer="ones", dtype="mixed_bfloat16"
        )
        layer.build((None, 1))
        layer.frequencies.assign([[1.0]])
        found = numpy(layer(np.array([[100.25]], "float32"))).item()
        assert found == pytest.approx(2.0, rel=1e-2)  # sin 90° + cos 90° + bias

    def test_bad_input(self):
        with pytest.raises(ValueError, match="`frequency_scale` must .*Received"):
            layers.PeriodicEmbedding(4, frequency_scale=0.0)
        with pytest.raises(ValueError, match="num_frequencies"):
            layers.PeriodicEmbedding(4, 0)


class TestAutoDis:
    def test_oracle(self, rng):
        x = rng.normal(size=(5, 3)).astype("float32")
        layer = layers.AutoDis(4, 6, temperature=0.5, skip=0.3)
        layer(x)
        w = randomised(layer, rng)
        expected = np.zeros((5, 3, 4))
        for row, column in np.ndindex(5, 3):
            h = w["inward"][column] * x[row, column]
            h = np.where(h > 0, h, 0.01 * h)
            scores = (h @ w["mix"][column] + 0.3 * h) / 0.5
            share = np.exp(scores) / np.exp(scores).sum()
            expected[row, column] = share @ w["buckets"][column]
        np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-3, atol=1e-4)

    def test_a_low_temperature_chooses_one_bucket(self, rng):
        layer = layers.AutoDis(4, 6, temperature=1e-4)
        found = numpy(layer(rng.normal(size=(8, 1)).astype("float32")))
        for embedding in found[:, 0]:
            distance = np.abs(numpy(layer.buckets)[0] - embedding).max(axis=-1)
            assert distance.min() < 1e-3

    def test_bad_input(self):
        with pytest.raises(ValueError, match="`temperature` must .*Received"):
            layers.AutoDis(4, temperature=0)
        with pytest.raises(ValueError, match="num_buckets"):
            layers.AutoDis(4, 0)


MADE = {
    "piecewise": lambda: layers.PiecewiseLinearEmbedding(4, BINS),
    "periodic": lambda: layers.PeriodicEmbedding(4, activation="linear"),
    "autodis": lambda: layers.AutoDis(4),
}


@pytest.mark.parametrize("name", MADE)
def test_columns_do_not_read_each_other(rng, name):
    x = rng.uniform(0.1, 0.9, size=(2, 3)).astype("float32")
    layer, other = MADE[name](), x.copy()
    other[:, 0] += 0.5
    changed = np.abs(numpy(layer(x)) - numpy(layer(other))).max(axis=(0, 2))
    assert changed[0] > 1e-4 and (changed[1:] == 0).all()


@pytest.mark.parametrize("name", MADE)
def test_announced_shape(rng, name):
    testing.check_layer(MADE[name](), 10 * rng.uniform(size=(64, 3)).astype("float32"), (64, 3, 4))


def test_a_model_hands_numbers_on_unrounded():
    """Between 1000 and 1004 bfloat16 knows no number; the embedding of the model does."""
    price = Numeric("price", transform=None, embedding="piecewise", edges=(1000.0, 1004.0))
    model = zoo.get("dnn", dtype="mixed_bfloat16", embedding_dim=4, hidden_units=[4])
    model.adapt(Schema([price]))
    x = np.array([[1000.0], [1001.0], [1002.0]], "float32")
    seen = []
    layer = model.embeddings[0].number_layers[0]
    call = layer.call
    layer.call = lambda x: seen.append(numpy(x)) or call(x)
    p = numpy(model({"values": ops.convert_to_tensor(x)}))
    np.testing.assert_array_equal(seen[0], x)
    assert p.shape == (3, 1)
