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
    state = residual.open(ops.convert_to_tensor(sources[0]))
    for at, source in enumerate(sources[1:]):
        state = residual.write(state, ops.convert_to_tensor(source), at)
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
    lowest = 0.0
    for scale in np.linspace(-5, 0, 60):
        residual.query.assign(np.full((DEPTH + 1, WIDTH), 1.0) * scale * np.sign(x[0, 0]))
        finished, _ = residual.open(ops.convert_to_tensor(x))
        lowest = min(lowest, float(ops.min(residual.weights_at(finished, 0)[0])))
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


FAMILY = {
    "identity": Identity,
    "deres": residuals.deres,
    "attnres": residuals.attnres,
    "sigmoid": lambda: DepthAttention(2, "sigmoid"),
    "scalar gate": lambda: residuals.deres(gate="scalar"),
    "dynamic gate": lambda: residuals.deres(gate="dynamic"),
    "additive": lambda: residuals.deres(gate=None),
    "depth weighted": residuals.DepthWeighted,
    "dilated": lambda: residuals.DepthWeighted(dilation=2, period=2),
    "static hc": lambda: residuals.HyperConnection(2, dynamic=False),
    "dynamic hc": lambda: residuals.HyperConnection(2),
    "mhc": lambda: residuals.mhc(2),
    "matrix": residuals.LearnableResidual,
    "diagonal": lambda: residuals.LearnableResidual(diagonal=True),
    "laurel": lambda: residuals.LAuReL(2),
    "laurel scalars": lambda: residuals.LAuReL(0),
    "dca": residuals.DeepCrossAttention,
    "mudd": residuals.MUDD,
}
family = pytest.mark.parametrize("make", FAMILY.values(), ids=FAMILY)


@family
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


@family
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


def test_a_second_stack_has_a_residual_of_its_own(x):
    """It may be of another depth, and need other weights."""
    residual = residuals.deres()
    one, other = layers.Stack(units(2), residual), layers.Stack(units(3), residual)
    one(x), other(x)
    assert one.residual is residual and residual.second.depth == 2
    assert other.residual.second.depth == 3


def filled(residual, rng, depth=DEPTH):
    """Builds a residual and gives it weights that are nowhere special."""
    residual.build((depth, WIDTH))
    residual.set_weights([0.5 * rng.normal(size=w.shape) for w in residual.get_weights()])
    return {w.path.split("/")[-1]: ops.convert_to_numpy(w) for w in residual.weights}


def walk(residual, x, increments):
    """What each site sees, and the output, for given increments."""
    state, seen = residual.open(ops.convert_to_tensor(x)), []
    for at, increment in enumerate(increments):
        read, kept = residual.read(state, at)
        seen.append(ops.convert_to_numpy(read))
        state = residual.write(kept, ops.convert_to_tensor(increment), at)
    return [*seen, ops.convert_to_numpy(residual.close(state))]


@pytest.fixture
def increments(rng, x):
    return [rng.normal(size=x.shape).astype("float32") for _ in range(DEPTH)]


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("scalar gate", 1),
        ("dynamic gate", 1),
        ("additive", 1),
        ("depth weighted", 1),
        ("dilated", 1),
        ("static hc", 2),
        ("dynamic hc", 2),
        ("matrix", 1),
        ("diagonal", 1),
        ("laurel", 1),
        ("laurel scalars", 1),
        ("mudd", 1),
    ],
)
def test_starts_as_the_plain_residual(x, name, factor):
    """Up to the number of streams, which a norm after the stack takes away."""
    found = run(FAMILY[name](), x)
    np.testing.assert_allclose(found, factor * run(Identity(), x), rtol=1e-4, atol=1e-4)


def test_deep_cross_attention_starts_near_it(x):
    np.testing.assert_allclose(run(residuals.DeepCrossAttention(), x), run(Identity(), x), atol=2)


@pytest.mark.parametrize(("dilation", "period"), [(1, 1), (2, 1), (1, 2), (2, 3)])
def test_depth_weighted_oracle(x, rng, increments, dilation, period):
    residual = residuals.DepthWeighted(dilation, period)
    alpha = filled(residual, rng)["alpha"]
    outputs, y, expected = [x], x, [x]
    for unit, increment in enumerate(increments, start=1):
        outputs.append(y + increment)
        y = outputs[-1]
        if unit % period == 0:
            sources = [j for j in range(unit + 1) if (unit - j) % dilation == 0]
            y = sum(alpha[unit - 1, j] * outputs[j] for j in sources)
        expected.append(y)
    np.testing.assert_allclose(walk(residual, x, increments), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dynamic", [False, True])
def test_hyper_connection_oracle(x, rng, increments, dynamic):
    residual = residuals.HyperConnection(3, dynamic)
    w = filled(residual, rng)
    streams, expected = np.repeat(x[:, :, None], 3, axis=2), []
    for at, increment in enumerate(increments):
        write, read, mix = w["write"][at], w["read"][at], w["mix"][at]
        if dynamic:
            normed = rms_norm(streams) * w["gain"][at]
            write = write + w["scales"][at, 0] * np.tanh(normed @ w["to_write"][at])[..., 0]
            read = read + w["scales"][at, 1] * np.tanh(normed @ w["to_read"][at])[..., 0]
            mix = mix + w["scales"][at, 2] * np.tanh(normed @ w["to_mix"][at])
        expected.append(np.sum(np.broadcast_to(read, streams.shape[:3])[..., None] * streams, 2))
        mixed = np.swapaxes(np.broadcast_to(mix, (*streams.shape[:3], 3)), -1, -2) @ streams
        streams = (
            mixed + np.broadcast_to(write, streams.shape[:3])[..., None] * increment[:, :, None]
        )
    expected.append(streams.sum(axis=2))
    for one, other in zip(walk(residual, x, increments), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def sinkhorn_by_hand(logits, iterations=20):
    logits = logits.astype("float64")
    for _ in range(iterations):
        logits = logits - np.logaddexp.reduce(logits, axis=-2, keepdims=True)
        logits = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    return np.exp(logits)


def test_manifold_hyper_connection_oracle(x, rng, increments):
    residual = residuals.ManifoldHyperConnection(3)
    w = filled(residual, rng)
    streams, expected = np.repeat(x[:, :, None], 3, axis=2), []
    for at, increment in enumerate(increments):
        z = rms_norm(streams.reshape(*x.shape[:2], -1)) * w["gain"][at]
        maps = np.split(z @ w["phi"][at], [3, 6], axis=-1)
        bias = np.split(w["bias"][at], [3, 6])
        pre, post, mix = (w["scales"][at, i] * maps[i] + bias[i] for i in range(3))
        mix = sinkhorn_by_hand(mix.reshape(*x.shape[:2], 3, 3))
        expected.append(np.sum(1 / (1 + np.exp(-pre[..., None])) * streams, axis=2))
        streams = mix @ streams + 2 / (1 + np.exp(-post[..., None])) * increment[:, :, None]
    expected.append(streams.sum(axis=2))
    for one, other in zip(walk(residual, x, increments), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_sinkhorn_is_doubly_stochastic(rng):
    logits = rng.normal(size=(50, 4, 4)).astype("float32")
    found = ops.convert_to_numpy(residuals.sinkhorn(ops.convert_to_tensor(logits)))
    np.testing.assert_allclose(found, sinkhorn_by_hand(logits), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-2), 1, atol=1e-3)
    assert (found >= 0).all()
    product = found[:25] @ found[25:]
    np.testing.assert_allclose(product.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(product.sum(axis=-2), 1, atol=2e-3)
    one = residuals.sinkhorn(ops.convert_to_tensor(logits[:, :1, :1]))
    np.testing.assert_allclose(ops.convert_to_numpy(one), 1)


@pytest.mark.parametrize("deviation", [6, 100])
def test_sinkhorn_of_large_logits(rng, deviation):
    """Where `exp` alone would overflow; 20 iterations are then far from doubly stochastic."""
    logits = (deviation * rng.normal(size=(50, 4, 4))).astype("float32")
    found = ops.convert_to_numpy(residuals.sinkhorn(ops.convert_to_tensor(logits)))
    assert np.isfinite(found).all() and (found >= 0).all()
    if deviation == 6:
        np.testing.assert_allclose(found, sinkhorn_by_hand(logits), atol=1e-3)


def test_streams_of_mhc_come_apart(x):
    """A symmetric start would give all streams one gradient, and keep them copies for ever.

    (At the first site they are copies of the input still.)
    """
    made = stack(residuals.mhc(4))
    made(x)
    found = testing.gradients(lambda: ops.sum(ops.square(made(x))), [made.residual.phi])[0]
    by_stream = found.reshape(DEPTH, 4, WIDTH, -1)
    assert np.abs(by_stream[-1, 0] - by_stream[-1, 1]).max() > 1e-2 * np.abs(by_stream[-1]).max()


@pytest.mark.parametrize("diagonal", [False, True])
def test_learnable_oracle(x, rng, increments, diagonal):
    residual = residuals.LearnableResidual(diagonal)
    kernel = filled(residual, rng)["map"]
    y, expected = x, [x]
    for at, increment in enumerate(increments):
        y = (y * kernel[at] if diagonal else y @ kernel[at]) + increment
        expected.append(y)
    np.testing.assert_allclose(walk(residual, x, increments), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rank", [0, 2])
def test_laurel_oracle(x, rng, increments, rank):
    residual = residuals.LAuReL(rank)
    w = filled(residual, rng)
    y, expected = x, [x]
    for at, increment in enumerate(increments):
        low = y @ w["down"][at] @ w["up"][at] if rank else 0
        y = w["scales"][at, 0] * increment + w["scales"][at, 1] * y + low
        expected.append(y)
    np.testing.assert_allclose(walk(residual, x, increments), expected, rtol=1e-3, atol=1e-3)


def test_deep_cross_attention_oracle(x, rng, increments):
    residual = residuals.DeepCrossAttention()
    w = filled(residual, rng)
    outputs = [x, *increments]
    expected = [
        sum(
            (w["base"][at, j] + np.maximum(g @ w["query"][at], 0)[..., None]) * g
            for j, g in enumerate(outputs[: at + 1])
        )
        for at in range(DEPTH + 1)
    ]
    np.testing.assert_allclose(walk(residual, x, increments), expected, rtol=1e-3, atol=1e-3)


def test_mudd_oracle(x, rng, increments):
    from math import erf

    residual = residuals.MUDD()
    w = filled(residual, rng)
    outputs, expected = [x, *increments], []
    for at in range(DEPTH + 1):
        hidden = rms_norm(sum(outputs[: at + 1])) @ w["down"][at]
        hidden = hidden * 0.5 * (1 + np.vectorize(erf)(hidden / np.sqrt(2)))
        weights = hidden @ w["up"][at] + w["base"][at]
        expected.append(sum(weights[..., j : j + 1] * g for j, g in enumerate(outputs[: at + 1])))
    np.testing.assert_allclose(walk(residual, x, increments), expected, rtol=1e-3, atol=1e-3)


def test_dynamic_gate_oracle(x, rng):
    residual = residuals.deres(gate="dynamic")
    residual.build((DEPTH, WIDTH))
    for weight in (residual.theta, residual.down, residual.up):
        weight.assign(rng.normal(size=weight.shape))
    found = ops.convert_to_numpy(residual.gate_at(ops.convert_to_tensor(x), 2))
    theta, down, up = (
        ops.convert_to_numpy(w)[2] for w in (residual.theta, residual.down, residual.up)
    )
    expected = 1 / (1 + np.exp(-(rms_norm(x) @ down @ up + theta)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_bad_input():
    for make in (
        lambda: residuals.DepthWeighted(dilation=0),
        lambda: residuals.DepthWeighted(period=0),
        lambda: residuals.HyperConnection(0),
        lambda: residuals.mhc(0),
        lambda: residuals.LAuReL(-1),
        lambda: residuals.deres(gate="matrix"),
    ):
        with pytest.raises(ValueError, match="Received"):
            make()
    with pytest.raises(ValueError, match="activation"):
        DepthAttention(activation="relu")
    with pytest.raises(ValueError, match="block_size"):
        DepthAttention(0)
