import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import losses, metrics, testing


def gradient(logits, label):
    """d loss / d logit through the sigmoid, on the current backend."""
    z = keras.Variable(np.asarray(logits, "float32")[:, None])
    y = np.full((len(logits), 1), label, "float32")

    def loss():
        p = ops.sigmoid(ops.convert_to_tensor(z))
        return losses.LogLoss(reduction="sum")(ops.convert_to_tensor(y), p)

    return testing.gradients(loss, [z])[0][:, 0]


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_gradient_is_p_minus_y_from_minus_30_to_15(label):
    z = np.linspace(-30, 15, 91)
    p = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(gradient(z, label), p - label, rtol=1e-5, atol=1e-7)


def test_stock_loss_silences_confident_examples():
    """Why there is a loss of our own: the clip of the stock one has no gradient beyond 1e-7."""
    z = keras.Variable(np.array([[-20.0]], "float32"))
    stock = keras.losses.BinaryCrossentropy()
    # Times 1.0, since Keras on TensorFlow looks for a sigmoid right before the loss and undoes it.
    found = testing.gradients(
        lambda: stock(ops.ones((1, 1)), 1.0 * ops.sigmoid(ops.convert_to_tensor(z))), [z]
    )[0]
    assert abs(found).max() < 1e-3
    assert gradient([-20.0], 1.0)[0] == pytest.approx(-1.0)


def test_value_is_that_of_numpy(rng):
    p = rng.uniform(0.01, 0.99, (50, 1)).astype("float32")
    y = (rng.random((50, 1)) < p).astype("float32")
    expected = np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p))
    assert float(losses.LogLoss()(y, p)) == pytest.approx(expected, rel=1e-6)


def test_labels_without_a_second_axis_are_not_broadcast(rng):
    p = rng.uniform(0.01, 0.99, (50, 1)).astype("float32")
    y = (rng.random((50, 1)) < p).astype("float32")
    expected = float(losses.LogLoss()(y, p))
    assert float(losses.LogLoss()(y[:, 0], p)) == pytest.approx(expected, rel=1e-6)
    several = float(losses.LogLoss()(y[:, 0], np.tile(p, (1, 3))))
    assert several == pytest.approx(expected, rel=1e-6)
    for bad in (np.tile(y, (1, 2)), y[None]):
        with pytest.raises(ValueError, match=r"must have shape \(B, 1\) or \(B,\)"):
            losses.LogLoss()(bad, p)


def test_never_infinite():
    p = np.array([[0.0], [1.0], [1.0], [0.0]], "float32")
    y = np.array([[1.0], [0.0], [1.0], [0.0]], "float32")
    value = ops.convert_to_numpy(losses.LogLoss(reduction=None)(y, p))
    assert np.isfinite(value).all()
    np.testing.assert_allclose(value[2:], 0, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="nothing is compiled by default")
def test_inside_a_compiled_step_the_error_says_so():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=[metrics.AUC()], jit_compile=True)
    with pytest.raises(RuntimeError, match="compiled step"):
        model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0)
