"""Oracles of the residual family, and the stack that they connect."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import layers, testing
from keras_ctr.layers import residuals
from keras_ctr.layers.residuals import DepthAttention, Gated, Identity

DEPTH, WIDTH = 5, 8


def units(depth=DEPTH):
    return [layers.PreNorm(layers.FeedForward(2)) for _ in range(depth)]


def stack(residual, depth=DEPTH, seed=3):
    """A stack whose units have the same weights whatever the residual."""
    keras.utils.set_random_seed(seed)
    made = units(depth)
    for unit in made:
        unit.build((None, 4, WIDTH))
    return layers.Stack(made, residual)


@pytest.fixture
def x(rng):
    return rng.normal(size=(6, 4, WIDTH)).astype("float32")


def run(residual, x, **kwargs):
    return ops.convert_to_numpy(stack(residual, **kwargs)(x))


def rms_norm(x):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)


def read_by_hand(residual, increments, x, at):
    """What site `at` sees, in NumPy, from the input and the increments before it."""
    size = residual.units_per_block
    blocks = [x] + [sum(increments[i : min(i + size, at)]) for i in range(0, at, size)]
    query = ops.convert_to_numpy(residual.query)[at]
    gain = ops.convert_to_numpy(residual.gain)[at]
    scores = np.stack([(rms_norm(block) * gain) @ query for block in blocks], axis=-1)
    if residual.activation == "softmax":
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    else:
        scores = scores / np.sqrt(WIDTH)
        weights = 1 / (1 + np.exp(-scores))
        weights = weights * scores if residual.activation == "silu" else weights
    return sum(weights[..., i : i + 1] * block for i, block in enumerate(blocks))


@pytest.mark.parametrize("activation", ["softmax", "silu", "sigmoid"])
@pytest.mark.parametrize("block_size", [1, 2, 7])
def test_depth_attention_oracle(x, rng, activation, block_size):
    residual = DepthAttention(block_size, activation)
    residual.build((DEPTH, WIDTH))
    residual.set_weights([rng.normal(size=w.shape) for w in residual.get_weights()])
    increments = [rng.normal(size=x.shape).astype("float32") for _ in range(DEPTH)]
    state = residual.open(ops.convert_to_tensor(x))
    for at in range(DEPTH):
        seen, kept = residual.read(state, at)
        expected = read_by_hand(residual, increments, x, at)
        np.testing.assert_allclose(ops.convert_to_numpy(seen), expected, rtol=1e-4, atol=1e-5)
        state = residual.write(kept, ops.convert_to_tensor(increments[at]), at)
    expected = read_by_hand(residual, increments, x, DEPTH)
    found = ops.convert_to_numpy(residual.close(state))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_identity_is_the_plain_loop(x):
    plain, expected = stack(None), ops.convert_to_tensor(x)
    for unit in plain.units:
        expected = expected + unit(expected)
    found = ops.convert_to_numpy(plain(x))
    np.testing.assert_allclose(found, ops.convert_to_numpy(expected), atol=1e-6)


@pytest.mark.parametrize("block_size", [None, 1, 2, 99])
def test_deres_starts_as_the_plain_stack(x, block_size):
    """In both granularities; the factor 2 of the fusion is what makes it exact."""
    np.testing.assert_allclose(
        run(residuals.deres(block_size), x), run(Identity(), x), rtol=1e-5, atol=1e-5
    )
    increments = layers.Serial(units(2))
    increments.build((None, 4, WIDTH))
    whole = layers.Stack([increments], residuals.deres(block_size))
    expected = x + ops.convert_to_numpy(increments(x))
    np.testing.assert_allclose(ops.convert_to_numpy(whole(x)), expected, rtol=1e-5, atol=1e-5)


def test_softmax_starts_as_the_mean_of_its_sources(x, rng):
    residual = DepthAttention(1, "softmax")
    residual.build((DEPTH, WIDTH))
    sources = [rng.normal(size=x.shape).astype("float32") for _ in range(3)]
    state = tuple(ops.convert_to_tensor(s) for s in sources), None
    found = ops.convert_to_numpy(residual.read(state, 2)[0])
    np.testing.assert_allclose(found, np.mean(sources, axis=0), atol=1e-6)


@pytest.mark.parametrize("block_size", [1, 2, 3, 99])
def test_all_weights_one_is_the_identity_stream(x, block_size, monkeypatch):
    monkeypatch.setattr(
        DepthAttention, "weights_at", lambda self, sources, at: [1.0 for _ in sources]
    )
    found = run(DepthAttention(block_size, "silu"), x)
    np.testing.assert_allclose(found, run(Identity(), x), rtol=1e-5, atol=1e-5)


def test_saturated_gate_is_twice_one_path(x, rng):
    for theta, path in ((40.0, 0), (-40.0, 1)):
        residual = Gated(Identity(), DepthAttention(1, "softmax"))
        residual.build((DEPTH, WIDTH))
        residual.theta.assign(np.full((DEPTH + 1, WIDTH), theta))
        increment = ops.convert_to_tensor(rng.normal(size=x.shape).astype("float32"))
        state = residual.write(residual.open(ops.convert_to_tensor(x)), increment, 0)
        seen = residual.read(state, 1)[0]
        alone = (residual.first, residual.second)[path].read(state[path], 1)[0]
        np.testing.assert_allclose(
            ops.convert_to_numpy(seen), 2 * ops.convert_to_numpy(alone), rtol=1e-5
        )


def test_silu_can_forget_but_only_so_far(x):
    residual = DepthAttention(1, "silu")
    residual.build((DEPTH, WIDTH))
    source = ops.convert_to_tensor(x)
    lowest = 0.0
    for scale in np.linspace(-5, 0, 60):
        residual.query.assign(np.full((DEPTH + 1, WIDTH), 1.0) * scale * np.sign(x[0, 0]))
        lowest = min(lowest, float(ops.min(residual.weights_at([source], 0)[0])))
    assert -0.2785 < lowest < -0.27


@pytest.mark.parametrize("residual", [residuals.deres(1), residuals.attnres(1)])
def test_gradients_reach_every_query_at_zero(x, residual):
    made = stack(residual)
    made(x)
    attention = residual.second if isinstance(residual, Gated) else residual
    target = np.arange(WIDTH, dtype="float32")
    found = testing.gradients(
        lambda: ops.sum(ops.square(ops.subtract(made(x), target))), [attention.query]
    )[0]
    reached = np.abs(found).sum(axis=1) > 0
    # A softmax over one source has no gradient: the first site of attnres has a single one.
    assert reached[1:].all() and reached[0] == (attention.activation == "silu")


@pytest.mark.parametrize(
    "make", [Identity, residuals.deres, residuals.attnres, lambda: DepthAttention(2, "sigmoid")]
)
def test_stack_contract(x, make):
    testing.check_layer(layers.Stack(units(2), make()), x, x.shape)


def test_prenorm_and_serial_return_increments(x):
    serial = layers.Serial(units(2))
    testing.check_layer(serial, x, x.shape)
    first, second = serial.units
    x = ops.convert_to_tensor(x)
    expected = first(x) + second(x + first(x))
    np.testing.assert_allclose(
        ops.convert_to_numpy(serial(x)), ops.convert_to_numpy(expected), atol=1e-5
    )
    norm = rms_norm(ops.convert_to_numpy(x))
    unit = layers.PreNorm(layers.FeedForward(2))
    found = ops.convert_to_numpy(unit(x))
    np.testing.assert_allclose(found, ops.convert_to_numpy(unit.sublayer(norm)), atol=1e-5)


@pytest.mark.parametrize("make", [Identity, residuals.deres, residuals.attnres])
def test_tokens_that_disappear_with_depth_leave_the_tail(x, make):
    """A pyramid whose last unit keeps 2 of 4 tokens is the tail of the one that keeps all."""

    def with_keep(keep):
        keras.utils.set_random_seed(1)
        made = [
            layers.PreNorm(layers.SelfAttention(2, causal=True)),
            layers.PreNorm(layers.SelfAttention(2, causal=True, keep=keep)),
        ]
        return layers.Stack(made, make())

    whole = ops.convert_to_numpy(with_keep(None)(x))
    tail = ops.convert_to_numpy(with_keep(2)(x))
    np.testing.assert_allclose(tail, whole[:, -2:], rtol=1e-5, atol=1e-5)


def test_mask_reaches_the_units(x):
    made = layers.Stack([layers.PreNorm(layers.SelfAttention(2)) for _ in range(2)])
    mask = np.array([[False, True, True, True]] * 6)
    before = ops.convert_to_numpy(made(x, mask=mask))[:, 1:]
    x[:, 0] += 5
    np.testing.assert_allclose(ops.convert_to_numpy(made(x, mask=mask))[:, 1:], before, atol=1e-6)
    assert np.abs(ops.convert_to_numpy(made(x))[:, 1:] - before).max() > 1e-3


def test_a_residual_belongs_to_one_stack(x):
    residual = residuals.deres()
    layers.Stack(units(2), residual)(x)
    with pytest.raises(ValueError, match="one stack"):
        layers.Stack(units(3), residual)(x)


def test_bad_input():
    with pytest.raises(ValueError, match="activation"):
        DepthAttention(activation="relu")
    with pytest.raises(ValueError, match="block_size"):
        DepthAttention(0)
