"""HSTU, LONGER, HiFormer and Wukong: their layers against NumPy, and what each promises."""

import exchange
import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import Categorical, Numeric, Schema, layers, testing, zoo
from keras_ctr.layers import residuals

SMALL = {name: exchange.SMALL[name] for name in ("hstu", "longer", "hiformer", "wukong")}
SEQUENTIAL = ["hstu", "longer"]


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


def layer_norm(x, gain, shift, epsilon):
    x = x - x.mean(-1, keepdims=True)
    return gain * x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) + shift


def rms_norm(x, gain, axis=-1):
    return gain * x / np.sqrt(np.mean(np.square(x), axis, keepdims=True) + 1e-6)


def randomised(layer, rng, scale=0.5):
    """Gives a built layer weights that are nowhere zero."""
    layer.set_weights([scale * normal(rng, *w.shape) for w in layer.get_weights()])
    return [np.asarray(w, "float64") for w in layer.get_weights()]


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


class TestTransductionUnit:
    MASK = np.array([[1, 0, 0, 1, 1], [1, 1, 1, 1, 1], [1, 0, 0, 0, 1]], bool)

    @pytest.mark.parametrize("num_context", [0, 2])
    @pytest.mark.parametrize("keep", [None, 2])
    def test_oracle(self, rng, num_context, keep):
        x = normal(rng, 3, 5, 4)
        layer = layers.TransductionUnit(2, num_context, keep)
        layer(x, mask=self.MASK)
        randomised(layer, rng)
        parts = (layer.norm, layer.gate_query, layer.value_key, layer.mixed_norm)
        norm, (wuq, buq), (wvk, bvk), mixed_norm = (p.get_weights() for p in parts)
        wo, bo = layer.output_projection.get_weights()
        bias = numpy(layer.relative_bias)
        normed = layer_norm(x, *norm, 1e-6)
        u, q = np.split(silu(normed @ wuq + buq), 2, axis=-1)
        v, k = np.split(silu(normed @ wvk + bvk), 2, axis=-1)
        found = numpy(layer(x, mask=self.MASK))
        first = 5 - (keep or 5)
        assert found.shape == (3, 5 - first, 4)
        for b in range(3):
            for t in range(first, 5):
                mixed = np.zeros(4)
                for s in range(5):
                    if self.MASK[b, s] and (s <= t or s < num_context):
                        for h, head in enumerate((slice(0, 2), slice(2, 4))):
                            score = q[b, t, head] @ k[b, s, head] / np.sqrt(2) + bias[h, t - s + 4]
                            mixed[head] += silu(score) / 5 * v[b, s, head]
                expected = (layer_norm(mixed, *mixed_norm, 1e-6) * u[b, t]) @ wo + bo
                np.testing.assert_allclose(found[b, t - first], expected, rtol=1e-3, atol=1e-4)

    def changed_by(self, rng, at, mask=None):
        """Which tokens' increments change with token `at`; the first two are context."""
        x, layer = normal(rng, 3, 6, 4), layers.TransductionUnit(2, num_context=2)
        layer(x)
        randomised(layer, rng)
        before = numpy(layer(x, mask=mask))
        x[:, at, 0] += 1  # a shift of all would not survive the norm
        return np.abs(numpy(layer(x, mask=mask)) - before).max(axis=(0, 2)) > 1e-4

    def test_a_later_event_changes_nothing_before_it(self, rng):
        np.testing.assert_array_equal(self.changed_by(rng, 4), [0, 0, 0, 0, 1, 1])

    def test_context_is_seen_by_all(self, rng):
        np.testing.assert_array_equal(self.changed_by(rng, 1), [1, 1, 1, 1, 1, 1])

    def test_padding_is_seen_by_none(self, rng):
        mask = np.array([[1, 1, 0, 1, 1, 1]] * 3, bool)
        np.testing.assert_array_equal(self.changed_by(rng, 2, mask), [0, 0, 1, 0, 0, 0])

    def test_without_output_a_stack_is_the_identity(self, rng):
        x, unit = normal(rng, 3, 5, 4), layers.TransductionUnit(2)
        stack = layers.Stack([unit])
        stack(x)
        unit.output_projection.kernel.assign(np.zeros((4, 4)))
        np.testing.assert_array_equal(numpy(stack(x)), x)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        x = normal(rng, 6, 4, 8)
        testing.check_layer(layers.TransductionUnit(2, num_context=1), x, (6, 4, 8))
        testing.check_layer(layers.TransductionUnit(2, keep=2), x, (6, 2, 8))

    def test_bad_input(self, rng):
        with pytest.raises(ValueError, match=r"one of \[1, 2, 4, 8\]"):
            layers.TransductionUnit(3)(normal(rng, 6, 4, 8))
        with pytest.raises(ValueError, match="`keep` must be at least 1"):
            layers.TransductionUnit(2, keep=0)


class TestMergedSequenceTokenizer:
    def test_oracle(self, rng):
        """Five events in twos: the oldest shares its token with padding."""
        x, events = normal(rng, 3, 2, 6), normal(rng, 3, 5, 4)
        mask = np.array([[1] * 5, [0, 0, 0, 0, 1], [0] * 5], bool)
        layer = layers.MergedSequenceTokenizer(2, inner_layers=0)
        layer(x, [(events, mask)])
        randomised(layer, rng)
        (gain,) = layer.tokenize.norms[0].get_weights()
        kernel, bias = layer.tokenize.projections[0].get_weights()
        position = numpy(layer.tokenize.positions[0])  # (6, 3), one for the padding
        vectors = rms_norm(events.astype("float64"), gain) @ kernel + bias + position[1:]
        filled = np.concatenate([np.zeros((3, 1, 3)), vectors * mask[..., None]], axis=1)
        found, present = layer(x, [(events, mask)])
        expected = np.concatenate([filled.reshape(3, 3, 6), x], axis=1)
        np.testing.assert_allclose(numpy(found), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(numpy(present), [[1] * 5, [0, 0, 1, 1, 1], [0, 0, 0, 1, 1]])

    @pytest.mark.parametrize("inner_layers", [0, 1])
    def test_an_event_changes_its_own_token_only(self, rng, inner_layers):
        x, first, second = normal(rng, 3, 2, 6), normal(rng, 3, 5, 4), normal(rng, 3, 4, 4)
        masks = np.ones((3, 5), bool), np.ones((3, 4), bool)
        layer = layers.MergedSequenceTokenizer(2, inner_layers)
        before = numpy(layer(x, [(first, masks[0]), (second, masks[1])])[0])
        first[:, 2] += 1
        after = numpy(layer(x, [(first, masks[0]), (second, masks[1])])[0])
        changed = np.abs(after - before).max(axis=(0, 2)) > 1e-5
        np.testing.assert_array_equal(changed, [0, 1, 0, 0, 0, 0, 0])  # 3 + 2 tokens, 2 fields

    def test_events_of_a_token_see_each_other_within_only(self, rng):
        x, events, mask = normal(rng, 3, 1, 6), normal(rng, 3, 4, 4), np.ones((3, 4), bool)
        for inner_layers, width in [(0, 3), (1, 6)]:  # a newer event changes half a token, or all
            layer = layers.MergedSequenceTokenizer(2, inner_layers)
            before = numpy(layer(x, [(events, mask)])[0])
            changed = np.abs(numpy(layer(x, [(events + np.eye(4)[3, :, None], mask)])[0]) - before)
            assert (changed[:, 1] > 1e-6).sum(axis=-1).max() == width

    def test_without_histories_only_the_fields_are_left(self, rng):
        x, layer = normal(rng, 3, 2, 6), layers.MergedSequenceTokenizer(2)
        found, mask = layer(x, [])
        np.testing.assert_array_equal(numpy(found), x)
        assert numpy(mask).all() and not layer.weights

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("inner_layers", [0, 2])
    def test_contract(self, rng, inner_layers):
        histories = [(normal(rng, 6, 5, 3), np.ones((6, 5), bool))]
        testing.check_layer(
            layers.MergedSequenceTokenizer(2, inner_layers),
            normal(rng, 6, 2, 8),
            call_kwargs={"histories": histories},
        )

    def test_bad_input(self, rng):
        with pytest.raises(ValueError, match=r"one of \[1, 2, 4, 8\]"):
            layers.MergedSequenceTokenizer(3)(normal(rng, 3, 2, 8), [])
        with pytest.raises(ValueError, match="`inner_layers` must be a whole number, at least 0"):
            layers.MergedSequenceTokenizer(2, inner_layers=-1)


class TestFieldTokenizer:
    def test_oracle(self, rng):
        x, layer = normal(rng, 6, 5, 3), layers.FieldTokenizer(4)
        layer(x)
        task, gain, kernel, bias = randomised(layer, rng)
        fields = np.einsum("btd,tdf->btf", rms_norm(x, gain, (1, 2)), kernel) + bias
        expected = np.concatenate([fields, np.broadcast_to(task, (6, 1, 4))], axis=1)
        np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.FieldTokenizer(4), normal(rng, 6, 5, 3), (6, 6, 4))


class TestHeterogeneousAttention:
    @pytest.mark.parametrize("rank", [None, 3])
    @pytest.mark.parametrize("keep", [None, 1])
    def test_oracle(self, rng, rank, keep):
        x = normal(rng, 3, 5, 4)
        layer = layers.HeterogeneousAttention(2, rank, keep)
        layer(x)
        wq, wo, *rest = randomised(layer, rng)
        if rank is None:
            k, v = (np.einsum("btd,tdf->btf", x, w) for w in rest)
        else:
            k, v = ((x.reshape(3, 20) @ a @ b).reshape(3, 5, 4) for a, b in (rest[:2], rest[2:]))
        first, found = 5 - (keep or 5), numpy(layer(x))
        for t in range(first, 5):
            q = x[:, t] @ wq[t - first]
            heads = [
                np.einsum(
                    "bs,bsd->bd",
                    softmax(np.einsum("bd,bsd->bs", q[:, h], k[..., h]) / 2**0.5),
                    v[..., h],
                )
                for h in (slice(0, 2), slice(2, 4))
            ]
            expected = np.concatenate(heads, axis=-1) @ wo[t - first]
            np.testing.assert_allclose(found[:, t - first], expected, rtol=1e-4, atol=1e-5)

    def test_own_kernels_equal_onetrans_without_events(self, rng):
        """OneTrans with field tokens only, up to its output projection, which all tokens share."""
        x = normal(rng, 3, 5, 4)
        mine, other = layers.HeterogeneousAttention(2), layers.SelfAttention(2, own_tokens=None)
        mine(x), other(x)
        wq, wkv, wo = randomised(other, rng)
        mine.set_weights([wq, np.stack([wo] * 5), wkv[..., :4], wkv[..., 4:]])
        np.testing.assert_allclose(numpy(mine(x)), numpy(other(x)), rtol=1e-4, atol=1e-5)

    def test_composite_keys_and_values_start_at_the_scale_of_the_input(self, rng):
        x = normal(rng, 200, 8, 16)
        assert numpy(layers.CompositeProjection(8)(x)).std() == pytest.approx(1, rel=0.25)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("rank", [None, 3])
    def test_contract(self, rng, rank):
        x = normal(rng, 6, 4, 8)
        testing.check_layer(layers.HeterogeneousAttention(2, rank), x, (6, 4, 8))
        testing.check_layer(layers.HeterogeneousAttention(2, rank, keep=1), x, (6, 1, 8))
        testing.check_layer(layers.CompositeProjection(3), x, (6, 4, 8))

    def test_bad_input(self, rng):
        with pytest.raises(ValueError, match=r"one of \[1, 2, 4, 8\]"):
            layers.HeterogeneousAttention(3)(normal(rng, 6, 4, 8))
        with pytest.raises(ValueError, match="`rank` must be at least 1"):
            layers.HeterogeneousAttention(2, rank=0)


class TestWukongLayer:
    def block(self, rng, x):
        layer = layers.FactorizationMachineBlock(3, rank=2, hidden_units=[7])
        layer(x)
        randomised(layer, rng)
        return layer

    @staticmethod
    def expected_block(layer, x):
        (w1, b1), (w2, b2) = layer.mlp.get_weights(), layer.project.get_weights()
        pairs = x @ x.transpose(0, 2, 1) @ numpy(layer.compress)  # (X Xᵀ) Y
        pairs = layer_norm(pairs.reshape(len(x), -1), *layer.norm.get_weights(), 1e-5)
        return (np.maximum(pairs @ w1 + b1, 0) @ w2 + b2).reshape(len(x), -1, x.shape[-1])

    def test_block_oracle(self, rng):
        x = normal(rng, 6, 5, 4)
        layer = self.block(rng, x)
        np.testing.assert_allclose(
            numpy(layer(x)), self.expected_block(layer, x), rtol=1e-3, atol=1e-4
        )

    def test_block_knows_inner_products_only(self, rng):
        x = normal(rng, 6, 5, 4)
        layer = self.block(rng, x)
        rotation = np.linalg.qr(normal(rng, 4, 4))[0]
        np.testing.assert_allclose(numpy(layer(x @ rotation)), numpy(layer(x)), atol=1e-4)

    @pytest.mark.parametrize("tokens", [5, 7])  # with 3 + 4 leaving, a learned shortcut or none
    def test_oracle(self, rng, tokens):
        x = normal(rng, 6, tokens, 4)
        layer = layers.WukongLayer(3, 4, rank=2, hidden_units=[7])
        layer(x)
        randomised(layer, rng)
        assert (layer.shortcut is None) == (tokens == 7)
        linear = np.einsum("btd,tn->bnd", x, numpy(layer.linear))
        new = np.concatenate([self.expected_block(layer.fm, x), linear], axis=1)
        old = x if tokens == 7 else np.einsum("btd,tn->bnd", x, numpy(layer.shortcut))
        expected = layer_norm(new + old, *layer.norm.get_weights(), 1e-5)
        np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-3, atol=1e-3)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("tokens", [5, 7])
    def test_contract(self, rng, tokens):
        x = normal(rng, 6, tokens, 4)
        testing.check_layer(layers.FactorizationMachineBlock(3, 2, [7], 0.1), x, (6, 3, 4))
        testing.check_layer(layers.WukongLayer(3, 4, 2, [7]), x, (6, 7, 4))

    def test_bad_input(self):
        for size in ("fm_tokens", "linear_tokens", "rank"):
            with pytest.raises(ValueError, match="must be at least 1"):
                layers.WukongLayer(**{size: 0})


def check(name, schema=None, **config):
    """The quick part of `check_model`: finite predictions, and every variable has a gradient."""
    schema = schema or testing.example_schema()
    batch, label = testing.example_batch(schema)
    batch, label = keras.tree.map_structure(ops.convert_to_tensor, (batch, label))
    model = zoo.get(name, **{**SMALL[name], **config}).adapt(schema)
    assert np.isfinite(numpy(model(batch))).all()
    randomised(model, np.random.default_rng(0))  # one that starts at zero may silence its factor
    missing = testing.without_gradient(
        lambda: ops.sum(ops.square(model(batch) - label)),
        model.trainable_variables,
    )
    assert not missing


class TestModels:
    @pytest.mark.parametrize("name", SMALL)
    def test_without_sequences(self, name):
        """Data of plain columns, and of one alone."""
        columns = [Categorical("item", 20), Categorical("user", 30), Numeric("price")]
        for some in (columns, columns[:1]):
            check(name, Schema(some))

    @pytest.mark.parametrize("name", SMALL)
    def test_histories_without_a_single_event(self, name):
        schema = testing.example_schema()
        batch, _ = testing.example_batch(schema)
        batch["history"][:] = 0
        p = zoo.get(name, **SMALL[name]).adapt(schema).predict(batch, verbose=0)
        assert np.isfinite(p).all() and p.std() > 0

    @pytest.mark.parametrize("name", SMALL)
    def test_whether_the_order_of_events_matters(self, name, rng):
        schema = testing.example_schema()
        batch, _ = testing.example_batch(schema)
        model = zoo.get(name, **SMALL[name]).adapt(schema)
        randomised(model, rng)  # tables start too small for any event to matter
        reversed_ = {**batch, "history": batch["history"][:, ::-1].copy()}
        difference = model.predict(batch, verbose=0) - model.predict(reversed_, verbose=0)
        assert (np.abs(difference).max() > 1e-4) == (name in SEQUENTIAL)

    @pytest.mark.parametrize(
        ("name", "residual"), [("hstu", "mhc"), ("longer", "deres"), ("hiformer", "attnres")]
    )
    def test_takes_any_residual(self, name, residual):
        check(name, residual=getattr(residuals, residual)())

    def test_hiformer_without_composite_projections(self):
        check("hiformer", rank=None)

    @pytest.mark.parametrize("config", [{"inner_layers": 0}, {"num_layers": 1}, {"merge_size": 1}])
    def test_longer_variants(self, config):
        check("longer", **config)

    def test_hstu_candidate_is_what_histories_hold(self, rng):
        model = zoo.get("hstu", **SMALL["hstu"]).adapt(testing.example_schema())
        fields = normal(rng, 2, 5, 4)
        context, candidate = (numpy(part) for part in model.split(fields))
        np.testing.assert_array_equal(candidate, fields[:, [1]])  # item; history is of it
        np.testing.assert_array_equal(context, fields[:, [0, 2, 3, 4]])

    @pytest.mark.parametrize("name", SEQUENTIAL)
    def test_a_later_token_changes_nothing_before_it(self, name, rng):
        """The whole stack but its last layer, which gives out the last tokens only."""
        schema = testing.example_schema()
        model = zoo.get(name, **{**SMALL[name], "num_layers": 3}).adapt(schema)
        tokens = {"hstu": 3 + 5 + 1, "longer": 3 + 3}[name]
        kept = {"hstu": tokens, "longer": 2 + 3}[name]
        x = normal(rng, 2, tokens, 8)

        def run(x):
            x = ops.convert_to_tensor(x)
            for unit in model.stack.units[:2]:
                y = unit(x)
                x = x[:, -y.shape[1] :] + y
            return numpy(x)

        before = run(x)
        assert before.shape[1] == kept
        x[:, -3, 0] += 1
        changed = np.abs(run(x) - before).max(axis=(0, 2)) > 1e-5
        np.testing.assert_array_equal(changed, [False] * (kept - 3) + [True] * 3)

    @pytest.mark.parametrize(
        ("name", "config", "message"),
        [
            ("hstu", {"num_heads": 3}, r"one of \[1, 2, 4, 8\]"),
            ("hstu", {"num_layers": 0}, "`num_layers` must be at least 1"),
            ("longer", {"merge_size": 3}, r"`merge_size` must divide .* one of \[1, 2, 4, 8\]"),
            ("longer", {"num_heads": 5}, r"`num_heads` must divide .* one of \[1, 2, 4, 8\]"),
            ("longer", {"num_recent": 0}, "`num_recent` must be at least 1"),
            ("hiformer", {"num_heads": 3}, r"one of \[1, 2, 4, 8\]"),
            ("hiformer", {"rank": 0}, "`rank` must be at least 1"),
            ("wukong", {"fm_tokens": 0}, "must be at least 1"),
            ("wukong", {"num_layers": 0}, "`num_layers` must be at least 1"),
        ],
    )
    def test_bad_input(self, name, config, message):
        with pytest.raises(ValueError, match=message):
            zoo.get(name, **{**SMALL[name], **config}).adapt(testing.example_schema())
