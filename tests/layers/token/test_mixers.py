"""Token mixing, per-token networks and their residuals; RankMixer, TokenMixer-Large, UniMixer."""

import exchange
import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import layers, losses, testing, zoo
from keras_ctr.layers import residuals
from keras_ctr.layers.copies import copies

TOKENS, WIDTH = 4, 8
MIXERS = ["rankmixer", "tokenmixer_large", "unimixer", "unimixer_lite"]


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


@pytest.fixture
def x(rng):
    return normal(rng, 6, TOKENS, WIDTH)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def randomised(layer, rng, scale=0.5):
    """Gives a built layer weights that are nowhere zero, and returns them by name."""
    for weight in layer.trainable_weights:
        weight.assign(scale * normal(rng, *weight.shape))
    return {w.path.split("/")[-1]: np.asarray(numpy(w), "float64") for w in layer.weights}


def rms_norm(x):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)


def silu(x):
    return x / (1 + np.exp(-x))


class TestTokenMixing:
    @pytest.mark.parametrize("heads", [1, 2, 4, 8])
    def test_oracle(self, x, heads):
        part = WIDTH // heads
        expected = [
            np.concatenate([x[:, t, h * part : (h + 1) * part] for t in range(TOKENS)], axis=1)
            for h in range(heads)
        ]
        found = numpy(layers.TokenMixing(heads)(x))
        np.testing.assert_array_equal(found, np.stack(expected, axis=1))

    @pytest.mark.parametrize("heads", [1, 2, 4, 8])
    def test_reverts_exactly(self, x, heads):
        np.testing.assert_array_equal(
            numpy(layers.TokenMixing(TOKENS)(layers.TokenMixing(heads)(x))), x
        )

    @pytest.mark.parametrize("heads", [2, 4, 8])
    def test_the_increment_of_mixed_tokens_reverts_with_the_sum(self, x, heads):
        """`Revert(H + f(H)) = X + Revert(f(H))`, also where the number of heads is not T."""
        unit = layers.MixAndRevert(layers.PreNorm(layers.PerTokenSwiGLU()), heads)
        found = x + numpy(unit(x))
        mixed = layers.TokenMixing(heads)(x)
        expected = numpy(layers.TokenMixing(TOKENS)(mixed + unit.unit(mixed)))
        np.testing.assert_allclose(found, expected, atol=1e-6)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.TokenMixing(2), x, (6, 2, 16))
        unit = layers.MixAndRevert(layers.PreNorm(layers.PerTokenSwiGLU(), 0.1), 2)
        testing.check_layer(unit, x, x.shape)

    def test_bad_input(self, x):
        with pytest.raises(ValueError, match=r"`num_heads`.*one of \[1, 2, 4, 8\]"):
            layers.TokenMixing(3)(x)


class TestPerTokenSwiGLU:
    def test_oracle(self, x, rng):
        layer = layers.PerTokenSwiGLU(3)
        layer(x)
        w = randomised(layer, rng)
        for t in range(TOKENS):
            gate = silu(x[:, t] @ w["gate"][t] + w["gate_bias"][t])
            hidden = gate * (x[:, t] @ w["up"][t] + w["up_bias"][t])
            expected = hidden @ w["down"][t] + w["down_bias"][t]
            np.testing.assert_allclose(numpy(layer(x))[:, t], expected, rtol=1e-3, atol=1e-4)

    def test_kernels_start_at_the_scale_of_their_own_fans(self):
        layer = layers.PerTokenSwiGLU(2, use_bias=False, down_scale=0.01)
        layer.build((None, 16, 64))
        glorot = np.sqrt(2 / (64 + 128))
        assert numpy(layer.up).std() == pytest.approx(glorot, rel=0.05)
        assert numpy(layer.down).std() == pytest.approx(0.01 * glorot, rel=0.05)
        assert len(layer.weights) == 3

    def test_mixture_oracle(self, x, rng):
        """Two of four experts: the shared one, and the best of three times α = 2."""
        layer = layers.PerTokenSwiGLU(2, use_bias=False, router=layers.ExpertRouter(4, 2))
        layer(x)
        w = randomised(layer, rng)
        width = 2 * WIDTH // 4
        found = numpy(layer(x))
        for b, t in np.ndindex(6, TOKENS):
            best = np.argmax(x[b, t] @ w["kernel"][t])
            expected = 0
            for expert, weight in ((3, 1.0), (best, 2.0)):
                at = slice(expert * width, (expert + 1) * width)
                hidden = silu(x[b, t] @ w["gate"][t][:, at]) * (x[b, t] @ w["up"][t][:, at])
                expected = expected + weight * hidden @ w["down"][t][at]
            np.testing.assert_allclose(found[b, t], expected, rtol=1e-3, atol=1e-4)

    def test_router(self, x, rng):
        router = layers.ExpertRouter(6, 3)
        router(x)
        w = randomised(router, rng)
        weights = numpy(router(x))
        assert ((weights[..., :-1] > 0).sum(-1) == 2).all() and (weights[..., -1] == 1).all()
        logits = np.einsum("btd,tde->bte", x, w["kernel"])
        top = np.sort(logits, axis=-1)[..., -2:]
        expected = 6 / 3 * np.exp(top) / np.exp(top).sum(-1, keepdims=True)
        found = np.sort(weights[..., :-1], axis=-1)[..., -2:]
        np.testing.assert_allclose(found, expected, rtol=1e-4)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.PerTokenSwiGLU(), x, x.shape)
        # With two experts active, one is routed: its softmax is constant, without a gradient.
        for router, frozen in (
            (layers.ExpertRouter(4, 3), ()),
            (layers.ExpertRouter(4, 2), ("kernel",)),
        ):
            layer = layers.PerTokenSwiGLU(2, use_bias=False, router=router)
            testing.check_layer(layer, x, x.shape, frozen=frozen)

    def test_bad_input(self, x):
        with pytest.raises(ValueError, match=r"`num_experts`.*one of \[2, 4, 8, 16\]"):
            layers.PerTokenSwiGLU(2, router=layers.ExpertRouter(3, 2))(x)
        for experts, active in ((4, 1), (2, 3)):
            with pytest.raises(ValueError, match="num_active"):
                layers.ExpertRouter(experts, active)


class TestSliceTokenizer:
    @pytest.mark.parametrize("tokens", [3, 4])  # 4 slices of 4 values: one of 15 is filled up
    def test_oracle(self, rng, tokens):
        x = normal(rng, 6, 5, 3)
        layer = layers.SliceTokenizer(tokens, 2)
        layer(x)
        w = randomised(layer, rng)
        flat = rms_norm(x.reshape(6, 15).astype("float64")) * w["scale"]
        size = -(-15 // tokens)
        for t in range(tokens):
            cut = flat[:, t * size : (t + 1) * size]
            expected = cut @ w["own_kernel"][t][: cut.shape[1]] + w["own_bias"][t]
            np.testing.assert_allclose(numpy(layer(x))[:, t], expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.SliceTokenizer(4, 2), normal(rng, 6, 5, 3), (6, 4, 2))

    def test_bad_input(self, rng):
        with pytest.raises(ValueError, match="15 embedded values.*fits is 8"):
            layers.SliceTokenizer(12, 2)(normal(rng, 6, 5, 3))
        with pytest.raises(ValueError, match="num_tokens"):
            layers.SliceTokenizer(0, 2)


class TestUniMixing:
    @pytest.mark.parametrize("make", [layers.UniMixing, layers.UniMixingLite])
    def test_is_the_kronecker_form(self, x, rng, make):
        """The full (TD) x (TD) matrix, block by block."""
        layer = make(4)
        found = numpy(layer(x))
        local, between = (numpy(matrix) for matrix in layer.matrices())
        n = len(between)
        full = np.block([[between[m, i] * local[i].T for i in range(n)] for m in range(n)])
        expected = (x.reshape(6, -1) @ full.T).reshape(x.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("make", [layers.UniMixing, layers.UniMixingLite])
    def test_matrices_are_doubly_stochastic(self, x, make):
        layer = make(4, temperature=1.0)
        layer(x)
        for matrix in layer.matrices():
            matrix = numpy(matrix)
            assert (matrix >= 0).all()
            np.testing.assert_allclose(matrix.sum(-1), 1, atol=1e-5)
            np.testing.assert_allclose(matrix.sum(-2), 1, atol=1e-3)

    def test_full_matrices_are_symmetric(self, x):
        layer = layers.UniMixing(4, temperature=1.0)
        layer(x)
        for matrix in layer.matrices():
            matrix = numpy(matrix)
            np.testing.assert_allclose(matrix, np.swapaxes(matrix, -1, -2), atol=1e-4)

    def test_cold_and_biased_to_the_diagonal_it_is_the_identity(self, x):
        layer = layers.UniMixing(4, temperature=0.05)
        layer(x)
        for weight in (layer.local_weight, layer.global_weight):
            weight.assign(np.broadcast_to(np.eye(weight.shape[-1]), weight.shape))
        np.testing.assert_allclose(numpy(layer(x)), x, atol=1e-4)

    def test_contains_token_mixing(self, rng):
        """With blocks of one part (P = D/T), identities within and a permutation between them."""
        x = normal(rng, 6, 4, 8)
        layer = layers.UniMixing(2, temperature=0.02)
        layer(x)
        permutation = np.zeros((16, 16), "float32")
        for h, t in np.ndindex(4, 4):
            permutation[h * 4 + t, t * 4 + h] = 1
        assert (permutation == permutation.T).all()
        layer.global_weight.assign(permutation)
        layer.local_weight.assign(np.broadcast_to(np.eye(2), (16, 2, 2)))
        np.testing.assert_allclose(numpy(layer(x)), numpy(layers.TokenMixing(4)(x)), atol=1e-4)

    @pytest.mark.parametrize("make", [layers.UniMixing, layers.UniMixingLite])
    def test_does_not_start_as_an_average(self, rng, make):
        """Effective rank of the output for independent inputs, of 624 (T = 13, D = 48)."""
        layer = make(16)
        out = numpy(layer(normal(rng, 1500, 13, 48))).reshape(1500, -1)
        share = np.linalg.svd(out - out.mean(0), compute_uv=False) ** 2
        share = share / share.sum()
        assert np.exp(-(share * np.log(share)).sum()) > 200

    def test_weights_of_the_lite_form(self, x):
        layer = layers.UniMixingLite(4, num_bases=3, rank=2)
        layer(x)
        assert layer.count_params() == 2 * 8 * 2 + 8 * 3 + 3 * 4 * 4
        assert [matrix.shape for matrix in layer.matrices()] == [(8, 4, 4), (8, 8)]

    def test_half_precision_keeps_the_matrices_in_float32(self, x):
        layer = layers.UniMixing(4, dtype="mixed_bfloat16")
        assert keras.backend.standardize_dtype(layer(x).dtype) == "bfloat16"
        for matrix in layer.matrices():
            assert keras.backend.standardize_dtype(matrix.dtype) == "float32"

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("make", [layers.UniMixing, layers.UniMixingLite])
    def test_contract(self, x, make):
        testing.check_layer(make(4), x, x.shape)

    def test_bad_input(self, x):
        with pytest.raises(ValueError, match=r"`block_size`.*32 values.*\[2, 4, 8, 16, 32\]"):
            layers.UniMixing(5)(x)
        with pytest.raises(ValueError, match=r"`rank` must lie in \[1, 8\]"):
            layers.UniMixingLite(4, rank=9)(x)
        with pytest.raises(ValueError, match="temperature"):
            layers.UniMixing(temperature=0)


def through(residual, x, increments):
    """What every unit sees, and the output, for given increments."""
    residual.build((len(increments), x.shape[-1]))
    state, seen = residual.open(ops.convert_to_tensor(x)), []
    for at, increment in enumerate(increments):
        now, kept = residual.read(state, at)
        seen.append(numpy(now))
        state = residual.write(kept, ops.convert_to_tensor(increment), at)
    return seen, numpy(residual.close(state))


class TestResiduals:
    @pytest.fixture
    def increments(self, x, rng):
        return [normal(rng, *x.shape) for _ in range(5)]

    def test_post_norm_oracle(self, x, increments):
        expected = x
        for increment in increments:
            expected = expected + increment
            expected = expected - expected.mean(-1, keepdims=True)
            expected = expected / np.sqrt((expected**2).mean(-1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(
            through(residuals.PostNorm(), x, increments)[1], expected, atol=1e-5
        )

    def test_siamese_oracle(self, x, increments):
        post = pre = x
        expected = []
        for increment in increments:
            expected.append(post + rms_norm(pre))
            post, pre = rms_norm(post + increment), pre + increment
        seen, out = through(residuals.Siamese(), x, increments)
        np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(out, post + rms_norm(pre), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("every", [1, 2, 3, 5])
    def test_inter_layer_oracle(self, x, increments, every):
        outputs = [x]
        for unit, increment in enumerate(increments, 1):
            now = outputs[-1] + increment
            if unit % every == 0 and unit < len(increments):  # never after the last
                now = now + outputs[unit - every]
            outputs.append(now)
        seen, out = through(residuals.InterLayer(every), x, increments)
        np.testing.assert_allclose([*seen, out], outputs, rtol=1e-5, atol=1e-5)

    def test_inter_layer_of_few_units_is_the_plain_residual(self, x, increments):
        for depth in (1, 2):
            found = through(residuals.InterLayer(2), x, increments[:depth])[1]
            np.testing.assert_allclose(found, x + sum(increments[:depth]), atol=1e-5)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("make", [residuals.PostNorm, residuals.Siamese, residuals.InterLayer])
    def test_contract(self, x, make):
        units = [layers.PreNorm(layers.FeedForward(2)) for _ in range(3)]
        testing.check_layer(layers.Stack(units, make()), x, x.shape)

    def test_dropout_of_post_norm_acts_in_training_only(self, x):
        stack = layers.Stack([layers.FeedForward(2)], residuals.PostNorm(0.5))
        still = numpy(stack(x))
        np.testing.assert_array_equal(numpy(stack(x, training=False)), still)
        assert np.abs(numpy(stack(x, training=True)) - still).max() > 0.01

    def test_bad_input(self):
        with pytest.raises(ValueError, match="every"):
            residuals.InterLayer(0)


class TestNested:
    def test_oracle(self, x):
        unit = layers.Nested(
            layers.PreNorm(layers.FeedForward(2)), layers.PreNorm(layers.FeedForward(2))
        )
        found = numpy(unit(x))
        expected = numpy(unit.outer(x + numpy(unit.inner(x))))
        np.testing.assert_allclose(found, expected, atol=1e-6)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        unit = layers.Nested(
            layers.PreNorm(layers.FeedForward(2)), layers.PreNorm(layers.FeedForward(2))
        )
        testing.check_layer(unit, x, x.shape)

    def test_copies_have_weights_of_their_own(self, x):
        pattern = layers.PerTokenSwiGLU(2, router=layers.ExpertRouter(4, 3))
        made = copies(pattern, 3)
        assert len({layer.name for layer in made}) == 3
        assert len({id(layer.router) for layer in made}) == 3
        outputs = [numpy(layer(x)) for layer in made]
        assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
        assert not pattern.built and not pattern.router.built

    def test_tapped_stack_shows_what_units_see(self, x):
        units = [layers.PreNorm(layers.FeedForward(2)) for _ in range(3)]
        out, seen = layers.TappedStack(units)(x)
        expected = ops.convert_to_tensor(x)
        for unit, found in zip(units, seen, strict=True):
            np.testing.assert_allclose(numpy(found), numpy(expected), atol=1e-6)
            expected = expected + unit(expected)
        np.testing.assert_allclose(numpy(out), numpy(expected), atol=1e-6)


@pytest.fixture(params=MIXERS)
def name(request):
    return request.param


def adapted(name, **config):
    return zoo.get(name, **{**exchange.SMALL[name], **config}).adapt(testing.example_schema())


def example():
    batch, label = testing.example_batch(testing.example_schema())
    return {key: ops.convert_to_tensor(array) for key, array in batch.items()}, label


class TestModels:
    @pytest.mark.parametrize(
        "make", [residuals.deres, residuals.attnres, residuals.Siamese, residuals.PostNorm]
    )
    def test_takes_any_residual(self, name, make, tmp_path):
        model = adapted(name, residual=make())
        batch, label = example()
        for weight in model.trainable_weights:  # a query at zero silences the gain beside it
            weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
        missing = testing.without_gradient(
            lambda: ops.mean(losses.LogLoss()(label, model(batch))), model.trainable_variables
        )
        assert not missing
        model.save(tmp_path / "model.keras")
        again = zoo.load(tmp_path / "model.keras")
        np.testing.assert_array_equal(numpy(again(batch)), numpy(model(batch)))

    @pytest.mark.parametrize("granularity", ["layer", "sublayer"])
    def test_granularity_is_saved(self, granularity, tmp_path):
        batch, _ = example()
        for name in ("tokenmixer_large", "unimixer"):
            model = adapted(name, granularity=granularity)
            per_layer = {"layer": 1, "sublayer": 2}[granularity]
            assert len(model.stack.units) == per_layer * model.num_layers
            model.save(tmp_path / "model.keras")
            again = zoo.load(tmp_path / "model.keras")
            np.testing.assert_array_equal(numpy(again(batch)), numpy(model(batch)))

    def test_config_is_the_signature(self, name):
        model = adapted(name)
        assert type(model).from_config(model.get_config()).get_config() == model.get_config()

    def test_a_pattern_makes_several_models(self):
        mixing, network = layers.UniMixing(4), layers.PerTokenSwiGLU(3)
        for name, config in (
            ("unimixer", {"mixing": mixing}),
            ("tokenmixer_large", {"feed_forward": network}),
        ):
            one, other = (adapted(name, **config) for _ in range(2))
            assert not {id(w) for w in one.weights} & {id(w) for w in other.weights}

    def test_bad_input(self, name):
        for size in ("num_layers", "num_tokens"):
            with pytest.raises(ValueError, match=size):
                adapted(name, **{size: 0})
        if name != "rankmixer":
            with pytest.raises(ValueError, match="granularity"):
                zoo.get(name, granularity="block")

    @pytest.mark.once  # sixteen layers take XLA long to compile
    def test_sixteen_layers_stay_finite(self, name):
        batch, label = example()
        model = adapted(name, num_layers=16)
        model.compile(keras.optimizers.Adam(0.01))
        found = model.fit(
            {key: numpy(array) for key, array in batch.items()}, label, epochs=2, verbose=0
        )
        assert np.isfinite(found.history["loss"]).all()


class TestRankMixer:
    def test_a_block_by_hand(self, x, rng):
        model = adapted("rankmixer", num_layers=1)
        stack = model.stack
        w1, b1 = (numpy(v) for v in (stack.units[1].up.own_kernel, stack.units[1].up.own_bias))
        w2, b2 = (numpy(v) for v in (stack.units[1].down.own_kernel, stack.units[1].down.own_bias))

        def norm(x):
            x = x - x.mean(-1, keepdims=True)
            return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)

        mixed = x.reshape(6, 4, 4, 2).transpose(0, 2, 1, 3).reshape(6, 4, 8)
        s = norm(mixed + x)
        hidden = numpy(keras.activations.gelu(np.einsum("btd,tdf->btf", s, w1) + b1))
        expected = norm(np.einsum("btf,tfd->btd", hidden, w2) + b2 + s)
        np.testing.assert_allclose(numpy(stack(x)), expected, rtol=1e-4, atol=1e-5)

    def test_weights_of_the_blocks(self):
        """About 2·k·L·T·D², as the paper counts."""
        model = adapted("rankmixer", token_dim=64, num_tokens=8, num_layers=2, expansion=3)
        found = sum(unit.count_params() for unit in model.stack.units)
        assert found == pytest.approx(2 * 3 * 2 * 8 * 64**2, rel=0.02)

    def test_pre_norm_units_if_the_residual_does_not_normalise(self):
        assert not [u for u in adapted("rankmixer").stack.units if isinstance(u, layers.PreNorm)]
        model = adapted("rankmixer", residual=residuals.Identity())
        assert all(isinstance(unit, layers.PreNorm) for unit in model.stack.units)

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"`num_tokens`.*one of \[1, 2, 4, 8\]"):
            zoo.RankMixer(token_dim=8, num_tokens=3)


class TestTokenMixerLarge:
    def test_a_block_by_hand(self, x):
        """Eqs. (12) and (16): the mixed tokens are added before reverting, the input after."""
        network = layers.PerTokenSwiGLU(2, use_bias=False)
        model = adapted("tokenmixer_large", num_layers=1, feed_forward=network)
        [block] = model.stack.units
        mixed = layers.TokenMixing(2)(x)
        reverted = numpy(layers.TokenMixing(TOKENS)(mixed + block.inner.unit.sublayer(_rms(mixed))))
        expected = x + numpy(block.outer.sublayer(_rms(reverted)))
        np.testing.assert_allclose(numpy(model.stack(x)[0]), expected, rtol=1e-4, atol=1e-5)

    def test_no_down_matrix_no_change(self, x):
        """The block is the identity; what is left are the residuals between layers."""
        for residual, factor in ((residuals.Identity(), 1), (None, 2)):
            model = adapted("tokenmixer_large", residual=residual, num_layers=3)
            for weight in model.stack.weights:
                if weight.path.split("/")[-1] == "down":
                    weight.assign(ops.zeros(weight.shape))
            np.testing.assert_allclose(numpy(model.stack(x)[0]), factor * x, rtol=1e-6)

    def test_starts_close_to_the_identity(self, x):
        model = adapted("tokenmixer_large", residual=residuals.Identity())
        assert np.abs(numpy(model.stack(x)[0]) - x).max() < 0.1

    def test_weights_of_the_blocks(self):
        """3·n·L·T·D²·(1 + T/H)."""
        config = {"token_dim": 32, "num_tokens": 4, "num_heads": 8, "num_layers": 2}
        model = adapted("tokenmixer_large", **config)
        kernels = [
            w for w in model.stack.weights if w.path.split("/")[-1] in ("gate", "up", "down")
        ]
        found = sum(int(np.prod(w.shape)) for w in kernels)
        assert found == 3 * 2 * 2 * 4 * 32**2 * (1 + 4 / 8)

    @pytest.mark.parametrize("readout", ["mean", "global"])
    @pytest.mark.parametrize("router", [None, layers.ExpertRouter(4, 3)])
    def test_options(self, readout, router, tmp_path):
        network = layers.PerTokenSwiGLU(2, use_bias=False, down_scale=0.01, router=router)
        model = adapted("tokenmixer_large", readout=readout, feed_forward=network)
        batch, label = example()
        for weight in model.trainable_weights:
            weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
        missing = testing.without_gradient(
            lambda: ops.mean(losses.LogLoss()(label, model(batch))), model.trainable_variables
        )
        assert not missing
        model.save(tmp_path / "model.keras")
        again = zoo.load(tmp_path / "model.keras")
        np.testing.assert_array_equal(numpy(again(batch)), numpy(model(batch)))

    def test_the_global_readout_reads_the_global_token(self, x):
        model = adapted("tokenmixer_large", readout="global")
        np.testing.assert_allclose(numpy(model._read(x)), rms_norm(x)[:, 0], rtol=1e-4)

    @pytest.mark.parametrize("granularity", ["layer", "sublayer"])
    def test_auxiliary_loss(self, granularity, tmp_path):
        batch, label = example()
        model = adapted("tokenmixer_large", num_layers=3, aux_weight=0.3, granularity=granularity)
        model.compile(keras.optimizers.Adam(0.01), metrics=["logloss", "binary_accuracy"])
        p, trained = numpy(model(batch)), numpy(model(batch, training=True))
        assert p.shape == (64, 1) and trained.shape == (64, 3)
        np.testing.assert_allclose(trained[:, :1], p, rtol=1e-5)
        weights = np.linspace(0.5, 2, 64).astype("float32")
        y = ops.convert_to_tensor(label)

        def log_loss(p):
            entropy = -np.where(label == 1, np.log(p), np.log(1 - p))[:, 0]
            return np.mean(weights * entropy)

        found = model.compute_loss(
            y=y, y_pred=ops.convert_to_tensor(trained), sample_weight=ops.convert_to_tensor(weights)
        )
        lower = sum(log_loss(trained[:, at : at + 1]) for at in (1, 2))
        assert float(found) == pytest.approx(log_loss(p) + 0.3 * lower, rel=1e-4)
        plain = model.compute_loss(
            y=y, y_pred=ops.convert_to_tensor(p), sample_weight=ops.convert_to_tensor(weights)
        )
        assert float(plain) == pytest.approx(log_loss(p), rel=1e-4)

        missing = testing.without_gradient(
            lambda: model.compute_loss(y=y, y_pred=model(batch, training=True)),
            model.trainable_variables,
        )
        assert not missing
        arrays = {key: numpy(array) for key, array in batch.items()}
        history = model.fit(
            arrays, label, epochs=8, batch_size=64, verbose=0, validation_data=(arrays, label)
        ).history
        assert history["loss"][-1] < history["loss"][0] and "binary_accuracy" in history
        assert history["val_loss"][-1] == pytest.approx(history["val_logloss"][-1], rel=1e-4)
        model.save(tmp_path / "model.keras")
        again = zoo.load(tmp_path / "model.keras")
        np.testing.assert_array_equal(numpy(again(batch)), numpy(model(batch)))
        assert again.predict(arrays, verbose=0).shape == (64, 1)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="readout"):
            zoo.TokenMixerLarge(readout="last")
        with pytest.raises(ValueError, match="num_tokens"):
            zoo.TokenMixerLarge(num_tokens=1)
        with pytest.raises(ValueError, match=r"`num_heads`.*\[1, 2, 4, 8\]"):
            adapted("tokenmixer_large", num_heads=3)


def _rms(x):
    return ops.convert_to_tensor(rms_norm(numpy(x)))


class TestUniMixer:
    def test_a_block_by_hand(self, x):
        model = adapted("unimixer", num_layers=1)
        [block] = model.stack.units
        z = x + rms_norm(x)
        o = numpy(block.outer.sublayer(_rms(z + numpy(block.inner(z)))))
        expected = rms_norm(x + o) + rms_norm(x + o)
        np.testing.assert_allclose(numpy(model.stack(x)), expected, rtol=1e-3, atol=1e-4)

    def test_no_down_matrix_leaves_the_norms(self, x):
        """Both streams are then the normalised input."""
        model = adapted("unimixer")
        for weight in model.stack.weights:
            if weight.path.split("/")[-1] == "down":
                weight.assign(ops.zeros(weight.shape))
        np.testing.assert_allclose(numpy(model.stack(x)), 2 * rms_norm(x), rtol=1e-3)

    def test_lite_has_fewer_weights(self):
        full, lite = (
            cls().adapt(testing.example_schema()).stack.units[0].inner.count_params()
            for cls in (zoo.UniMixer, zoo.UniMixerLite)
        )
        assert (full, lite) == (64**2 + 64 * 8**2, 2 * 64 * 16 + 64 * 4 + 4 * 8**2)

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"`block_size`.*one of \[2, 4, 8, 16, 32\]"):
            adapted("unimixer", mixing=layers.UniMixing(3))
