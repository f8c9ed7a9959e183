"""Gradient noise: its size, its seed, where it falls, and that it is saved."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import optimizers, testing, zoo


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def applied(optimizer, gradients, variables):
    """What one step of plain SGD at rate 1 subtracts: the noisy gradients."""
    before = [numpy(v).copy() for v in variables]
    gradients = [g if g is None else ops.convert_to_tensor(g) for g in gradients]
    optimizer.apply(gradients, variables)
    return [old - numpy(v) for old, v in zip(before, variables, strict=True)]


def noisy_sgd(**config):
    return optimizers.GradientNoise(keras.optimizers.SGD(1.0), **config)


def test_size_of_the_noise():
    """`σ_t² = η / (1 + t)^γ` on top of the gradient, at steps 0 and 1."""
    variable = keras.Variable(np.zeros((100, 200), "float32"), name="kernel")
    optimizer = noisy_sgd(eta=0.3, gamma=2.0, seed=1)
    gradient = np.full((100, 200), 5.0, "float32")
    for step in range(2):
        assert float(optimizer.sigma()) == pytest.approx(0.3**0.5 / (1 + step), rel=1e-5)
        (found,) = applied(optimizer, [gradient], [variable])
        assert found.mean() == pytest.approx(5.0, abs=0.02)
        assert found.std() == pytest.approx(0.3**0.5 / (1 + step), rel=0.02)


def test_seed():
    def first(seed):
        variable = keras.Variable(np.zeros(50, "float32"), name="kernel")
        return applied(noisy_sgd(seed=seed), [np.zeros(50, "float32")], [variable])[0]

    np.testing.assert_array_equal(first(1), first(1))
    assert np.abs(first(1) - first(2)).max() > 0


def test_steps_and_variables_differ():
    variables = [keras.Variable(np.zeros(50, "float32"), name="kernel") for _ in range(2)]
    optimizer, zeros = noisy_sgd(seed=1), [np.zeros(50, "float32")] * 2
    draws = applied(optimizer, zeros, variables) + applied(optimizer, zeros, variables)
    correlations = np.corrcoef(draws) - np.eye(4)
    assert np.abs(correlations).max() < 0.6


def test_in_tables_only_rows_with_a_gradient_are_noisy():
    schema = testing.example_schema()
    batch, label = testing.example_batch(schema, rows=3)
    moves = []
    for eta in (0.0, 1.0):
        model = zoo.get("fm", embedding_dim=4).adapt(schema)
        model.compile(noisy_sgd(eta=eta, seed=1))
        before = numpy(model.embed.table).copy()
        model.fit(batch, label, batch_size=3, epochs=1, verbose=0)
        moves.append(np.abs(numpy(model.embed.table) - before).max(axis=1))
    still, noisy = moves
    np.testing.assert_array_equal(noisy > 0, still > 0)
    assert 0 < np.sum(still > 0) < len(still) and still.max() < 0.01 and noisy.max() > 0.1


def test_a_missing_gradient_stays_missing():
    variables = [keras.Variable(np.zeros(5, "float32"), name="kernel") for _ in range(2)]
    with pytest.warns(UserWarning, match="do not exist"):
        found = applied(noisy_sgd(), [None, np.ones(5, "float32")], variables)
    assert not found[0].any() and found[1].any()


def test_without_noise_it_is_the_inner_optimizer():
    schema = testing.example_schema()
    batch, label = testing.example_batch(schema)
    found = []
    for noisy in (False, True):
        keras.utils.set_random_seed(3)
        model = zoo.get("lr").adapt(schema)
        inner = keras.optimizers.Adam(0.05, global_clipnorm=0.5)
        model.compile(optimizers.GradientNoise(inner, eta=0.0) if noisy else inner)
        model.fit(batch, label, batch_size=32, epochs=2, verbose=0, shuffle=False)
        found.append(model.predict(batch, verbose=0))
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_it_is_saved_and_training_goes_on(tmp_path):
    """Two steps, a reload, two more: the same as four steps, noise and Adam's moments included."""
    schema = testing.example_schema()
    batch, label = testing.example_batch(schema)
    model = zoo.get("fm", embedding_dim=4).adapt(schema)
    inner = keras.optimizers.Adam(0.05)
    model.compile(optimizers.GradientNoise(inner, eta=0.3, gamma=0.4, seed=5))

    def train(model):
        model.fit(batch, label, batch_size=64, epochs=2, verbose=0, shuffle=False)
        return model.predict(batch, verbose=0)

    before = numpy(model.optimizer.random.state).copy()
    train(model)
    assert (numpy(model.optimizer.random.state) != before).any()  # a compiled step draws anew
    model.save(tmp_path / "model.keras")
    again = zoo.load(tmp_path / "model.keras")
    assert isinstance(again.optimizer, optimizers.GradientNoise)
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert int(again.optimizer.iterations) == 2
    np.testing.assert_array_equal(train(again), train(model))


@pytest.mark.parametrize(
    "wrapper", [None, optimizers.GradientNoise, keras.optimizers.LossScaleOptimizer]
)
def test_a_saved_optimizer_belongs_to_no_backend(wrapper):
    """Or training could not go on on another one: Keras names the classes of PyTorch."""
    inner = keras.optimizers.Adam(0.05)
    model = zoo.get("lr").adapt(testing.example_schema())
    model.compile(wrapper(inner) if wrapper else inner)
    config = model.get_compile_config()["optimizer"]
    assert "keras.src.backend" not in json.dumps(config)
    again = keras.saving.deserialize_keras_object(config)
    assert float(again.learning_rate) == pytest.approx(0.05) and type(again) is type(
        model.optimizer
    )


def test_the_learning_rate_is_the_inner_ones():
    """Which is what Keras's callbacks set."""
    optimizer = optimizers.GradientNoise("adam")
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)
    optimizer.learning_rate = 0.5
    assert float(optimizer.inner.learning_rate) == 0.5


def test_noise_leads_out_of_a_start_at_zero():
    """All kernels at zero: none has a gradient, and only the output's bias is ever learned."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 4)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    losses = []
    for eta in (0.0, 1.0):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(8, "tanh", kernel_initializer="zeros"),
                keras.layers.Dense(1, kernel_initializer="zeros"),
            ]
        )
        model.compile(noisy_sgd(eta=eta, seed=1), keras.losses.BinaryCrossentropy(True))
        model.optimizer.learning_rate = 0.1
        losses.append(model.fit(x, y, batch_size=128, epochs=40, verbose=0).history["loss"][-1])
    assert losses[0] > 0.69 and losses[1] < 0.5


def test_bad_input():
    with pytest.raises(ValueError, match="eta"):
        optimizers.GradientNoise(eta=-1.0)
