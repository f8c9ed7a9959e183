"""Every layer against ten lines of NumPy, an invariant, and the contract of `check_layer`."""

import inspect
import pathlib
import re

import numpy as np
import pytest
from keras import ops

from keras_ctr import Categorical, Numeric, Schema, Sequence, layers, testing

SCHEMA = Schema(
    [
        Categorical("user", 7),
        Categorical("item", 5),
        Numeric("price"),
        Sequence("history", of="item", length=3),
    ]
)
BATCH = {
    "ids": np.array([[2, 4], [0, 1], [6, 0]], "int32"),
    "values": np.array([[0.5], [-1.0], [0.0]], "float32"),
    "history": np.array([[0, 3, 4], [0, 0, 0], [2, 2, 1]], "int32"),
}


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def randomised(layer, rng, scale=0.5):
    """Gives a built layer weights that are nowhere zero."""
    layer.set_weights([scale * normal(rng, *w.shape) for w in layer.get_weights()])
    return [np.asarray(w, "float64") for w in layer.get_weights()]


class TestFeatureEmbedding:
    def embedding(self, rng, **config):
        layer = layers.FeatureEmbedding(4, schema=SCHEMA, **config)
        layer.build({key: array.shape for key, array in BATCH.items()})
        return layer, *randomised(layer, rng)

    def test_oracle(self, rng):
        layer, table, vectors = self.embedding(rng)
        items = table[7:]
        for row, x in enumerate(ops.convert_to_numpy(layer(BATCH))):
            user, item = BATCH["ids"][row]
            seen = [items[i] for i in BATCH["history"][row] if i]
            expected = [
                table[user] * (user > 0),
                items[item] * (item > 0),
                vectors[0] * BATCH["values"][row, 0],
                np.mean(seen, axis=0) if seen else np.zeros(4),
            ]
            np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)

    def test_tokens_share_the_pooled_ones_rows(self, rng):
        layer, table, _ = self.embedding(rng, pool=None)
        fields, [(events, mask)] = layer(BATCH)
        assert tuple(fields.shape) == (3, 3, 4)
        np.testing.assert_array_equal(ops.convert_to_numpy(mask), BATCH["history"] > 0)
        expected = table[7:][BATCH["history"]] * (BATCH["history"] > 0)[..., None]
        np.testing.assert_allclose(ops.convert_to_numpy(events), expected, rtol=1e-5)

    def test_padding_gets_no_gradient(self, rng):
        layer, *_ = self.embedding(rng)
        found = testing.gradients(lambda: ops.sum(ops.square(layer(BATCH))), [layer.table])[0]
        rows = np.abs(found).sum(axis=1)
        assert rows[0] == 0 and rows[7] == 0  # id 0 of user and of item
        assert rows[2] > 0 and rows[6] > 0 and rows[7 + 4] > 0
        assert rows[3] == 0  # in nobody's batch

    def test_gradient_sums_over_equal_ids(self, rng):
        layer, *_ = self.embedding(rng, pool="sum")
        given = normal(rng, 3, 4, 4)

        def weighted():
            return ops.sum(ops.multiply(layer(BATCH), given))

        found = testing.gradients(weighted, [layer.table])[0]
        expected = np.zeros((12, 4))
        for row in range(3):
            for column, start in enumerate((0, 7)):
                expected[start + BATCH["ids"][row, column]] += given[row, column]
            for item in BATCH["history"][row]:
                expected[7 + item] += given[row, 3]
        expected[[0, 7]] = 0  # padding
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_sizes_of_columns(self, rng):
        layer, *_ = self.embedding(rng)
        assert layer.sizes_of([BATCH["ids"], BATCH["history"]]) == [(7, 1), (5, 1 + 3)]

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("pool", ["mean", "sum", None])
    def test_contract(self, pool):
        testing.check_layer(
            layers.FeatureEmbedding(4, pool=pool, initializer="glorot_normal", schema=SCHEMA),
            BATCH,
        )

    def test_bfloat16_keeps_the_table_in_float32(self):
        layer = layers.FeatureEmbedding(4, schema=SCHEMA, dtype="mixed_bfloat16")
        assert layer(BATCH).dtype in ("bfloat16", ops.cast(0.0, "bfloat16").dtype)
        assert layer.table.dtype == "float32"

    def test_bad_input(self):
        with pytest.raises(ValueError, match="pool"):
            layers.FeatureEmbedding(4, pool="max")
        with pytest.raises(ValueError, match="adapt"):
            layers.FeatureEmbedding(4)(BATCH)
        with pytest.raises(ValueError, match="history"):
            layers.FeatureEmbedding(4, schema=SCHEMA)(
                {"ids": BATCH["ids"], "values": BATCH["values"]}
            )
        with pytest.raises(ValueError, match="size"):
            layers.FeatureEmbedding(4).adapt(Schema([Categorical("user")]))


class TestClick:
    def test_oracle(self, rng):
        logit, wide = normal(rng, 5, 1), normal(rng, 5, 3)
        layer = layers.Click()
        layer([logit, wide])
        kernel, bias = sorted(randomised(layer, rng), key=np.size, reverse=True)
        expected = 1 / (1 + np.exp(-(logit + wide @ kernel + bias)))
        np.testing.assert_allclose(ops.convert_to_numpy(layer([logit, wide])), expected, rtol=1e-5)

    def test_float32_under_every_policy(self, rng):
        layer = layers.Click(dtype="mixed_bfloat16")
        x = ops.cast(normal(rng, 5, 3), "bfloat16")
        assert ops.convert_to_numpy(layer(x)).dtype == np.float32

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.Click(), normal(rng, 5, 3), (5, 1))
        testing.check_layer(layers.Click(), [normal(rng, 5, 3), normal(rng, 5, 1)], (5, 1))


class TestMLP:
    def test_oracle(self, rng):
        x = normal(rng, 6, 5)
        layer = layers.MLP([4, 3])
        layer(x)
        w1, b1, w2, b2 = randomised(layer, rng)
        expected = np.maximum(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 0)
        np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-6)

    def test_order_is_dense_norm_activation_dropout(self):
        kinds = [type(part).__name__ for part in layers.MLP([4], "relu", 0.1, True).parts]
        assert kinds == ["Flatten", "Dense", "BatchNormalization", "Activation", "Dropout"]

    def test_dropout_acts_in_training_only(self, rng):
        x = normal(rng, 6, 5)
        layer = layers.MLP([64], dropout=0.5)
        still = ops.convert_to_numpy(layer(x, training=False))
        np.testing.assert_array_equal(still, ops.convert_to_numpy(layer(x)))
        assert np.abs(ops.convert_to_numpy(layer(x, training=True)) - still).max() > 0.01

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.MLP([4, 3], "silu"), normal(rng, 6, 2, 5), (6, 3))
        testing.check_layer(layers.MLP([4], "silu", batch_norm=True), normal(rng, 6, 5), (6, 4))

    def test_bad_input(self):
        for hidden_units in ([], [4, 0]):
            with pytest.raises(ValueError, match="hidden_units"):
                layers.MLP(hidden_units)


class TestCross:
    def test_oracle(self, rng):
        x0 = normal(rng, 6, 5)
        layer = layers.Cross(2)
        layer(x0)
        w0, w1, b0, b1 = randomised(layer, rng)
        x = x0
        for w, b in ((w0, b0), (w1, b1)):
            x = x0 * (x @ w + b) + x
        np.testing.assert_allclose(ops.convert_to_numpy(layer(x0)), x, rtol=1e-4, atol=1e-5)

    def test_zero_kernels_make_it_the_identity(self, rng):
        x, layer = normal(rng, 6, 5), layers.Cross(3)
        layer(x)
        layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
        np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), x)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.Cross(2), normal(rng, 6, 2, 5), (6, 10))


class TestCrossMixture:
    def test_oracle(self, rng):
        x0 = normal(rng, 6, 5)
        layer = layers.CrossMixture(2, rank=3, num_experts=2)
        layer(x0)
        weights = randomised(layer, rng)
        names = [w.path.split("/")[-1] for w in layer.weights]
        get = dict(zip(names, weights, strict=True)).get
        x = x0.astype("float64")
        for at in range(2):
            gate = softmax(x @ get("gates"))
            new = x.copy()
            for m in range(2):
                low = np.tanh(np.tanh(x @ get(f"v_{at}")[m]) @ get(f"c_{at}")[m])
                new += gate[:, m : m + 1] * x0 * (low @ get(f"u_{at}")[m] + get(f"bias_{at}"))
            x = new
        np.testing.assert_allclose(ops.convert_to_numpy(layer(x0)), x, rtol=1e-4, atol=1e-5)

    def test_experts_start_at_the_scale_of_their_own_fans(self):
        layer = layers.CrossMixture(1, rank=64, num_experts=8)
        layer.build((None, 64))
        v = ops.convert_to_numpy(layer.factors[0][0])
        assert v.std() == pytest.approx(np.sqrt(2 / 128), rel=0.1)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.CrossMixture(2, 3, 2), normal(rng, 6, 2, 5), (6, 10))


class TestFactorizationMachine:
    def test_oracle(self, rng):
        x = normal(rng, 6, 5, 4)
        pairs = [(i, j) for i in range(5) for j in range(i)]
        expected = sum((x[:, i] * x[:, j]).sum(-1) for i, j in pairs)[:, None]
        found = ops.convert_to_numpy(layers.FactorizationMachine()(x))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_order_of_fields_does_not_matter(self, rng):
        x, layer = normal(rng, 6, 5, 4), layers.FactorizationMachine()
        found = [ops.convert_to_numpy(layer(a)) for a in (x, x[:, ::-1].copy())]
        np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.FactorizationMachine(), normal(rng, 6, 5, 4), (6, 1))


class TestFieldAttention:
    @pytest.mark.parametrize("width", [4, 6])
    def test_oracle(self, rng, width):
        x = normal(rng, 6, 5, width)
        layer = layers.FieldAttention(6, num_heads=2)
        layer(x)
        wq, wk, wv, *residual = randomised(layer, rng)
        expected = x @ residual[0] if residual else x.copy()
        for head in (slice(0, 3), slice(3, 6)):
            q, k, v = (x @ w[:, head] for w in (wq, wk, wv))
            expected[..., head] += softmax(q @ k.transpose(0, 2, 1)) @ v
        found = ops.convert_to_numpy(layer(x))
        np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-4, atol=1e-5)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.FieldAttention(6, 2), normal(rng, 6, 5, 4), (6, 5, 6))

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"one of \[1, 2, 3, 6\]"):
            layers.FieldAttention(6, num_heads=4)


class TestPerTokenDense:
    @pytest.mark.parametrize("own_tokens", [None, 0, 2])
    def test_oracle(self, rng, own_tokens):
        x = normal(rng, 6, 4, 3)
        layer = layers.PerTokenDense(5, own_tokens=own_tokens)
        layer(x)
        weights = dict(
            zip([w.path.split("/")[-1] for w in layer.weights], randomised(layer, rng), strict=True)
        )
        first_own = {None: 0, 0: 4, 2: 2}[own_tokens]
        for t in range(4):
            if t < first_own:
                expected = x[:, t] @ weights["shared_kernel"] + weights["shared_bias"]
            else:
                own = t - first_own
                expected = x[:, t] @ weights["own_kernel"][own] + weights["own_bias"][own]
            found = ops.convert_to_numpy(layer(x))[:, t]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_kernels_start_at_the_scale_of_their_own_fans(self):
        layer = layers.PerTokenDense(64)
        layer.build((None, 16, 64))
        kernel = ops.convert_to_numpy(layer.own_kernel)
        assert kernel.std() == pytest.approx(np.sqrt(2 / 128), rel=0.05)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("own_tokens", [None, 0, 2])
    def test_contract(self, rng, own_tokens):
        x = normal(rng, 6, 4, 3)
        testing.check_layer(layers.PerTokenDense(5, own_tokens, "silu"), x, (6, 4, 5))
        testing.check_layer(layers.FeedForward(2, own_tokens), x, (6, 4, 3))

    def test_bad_input(self, rng):
        with pytest.raises(ValueError, match="own_tokens"):
            layers.PerTokenDense(5, own_tokens=6)(normal(rng, 6, 4, 3))


class TestSelfAttention:
    @pytest.mark.parametrize("causal", [False, True])
    @pytest.mark.parametrize("keep", [None, 2])
    def test_oracle(self, rng, causal, keep):
        x = normal(rng, 3, 5, 4)
        mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]], bool)
        layer = layers.SelfAttention(2, causal=causal, keep=keep)
        layer(x, mask=mask)
        wq, wkv, wo = randomised(layer, rng)
        rows = []
        for b in range(3):
            tokens = []
            for t in range(5 - (keep or 5), 5):
                heads = []
                for h in (slice(0, 2), slice(2, 4)):
                    q, k, v = x[b, t] @ wq[:, h], x[b] @ wkv[:, :4][:, h], x[b] @ wkv[:, 4:][:, h]
                    seen = [s for s in range(5) if mask[b, s] and (s <= t or not causal)]
                    if not seen:
                        heads.append(np.zeros(2))
                        continue
                    heads.append(softmax(q @ k[seen].T / np.sqrt(2)) @ v[seen])
                tokens.append(np.concatenate(heads) @ wo)
            rows.append(tokens)
        found = ops.convert_to_numpy(layer(x, mask=mask))
        np.testing.assert_allclose(found, rows, rtol=1e-4, atol=1e-5)

    def test_a_later_token_changes_nothing_before_it(self, rng):
        x, layer = normal(rng, 3, 5, 4), layers.SelfAttention(2, causal=True)
        before = ops.convert_to_numpy(layer(x))
        x[:, 3] += 1
        after = ops.convert_to_numpy(layer(x))
        np.testing.assert_allclose(after[:, :3], before[:, :3], atol=1e-6)
        assert np.abs(after[:, 3:] - before[:, 3:]).max() > 1e-3

    def test_without_a_causal_mask_it_does(self, rng):
        x, layer = normal(rng, 3, 5, 4), layers.SelfAttention(2)
        before = ops.convert_to_numpy(layer(x))
        x[:, 3] += 1
        assert np.abs(ops.convert_to_numpy(layer(x))[:, :3] - before[:, :3]).max() > 1e-3

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("own_tokens", [None, 0, 2])
    def test_contract(self, rng, own_tokens):
        x = normal(rng, 6, 4, 8)
        testing.check_layer(layers.SelfAttention(2, own_tokens, True), x, (6, 4, 8))
        testing.check_layer(layers.SelfAttention(2, own_tokens, keep=2), x, (6, 2, 8))

    def test_bad_input(self, rng):
        with pytest.raises(ValueError, match=r"one of \[1, 2, 4, 8\]"):
            layers.SelfAttention(3)(normal(rng, 6, 4, 8))


class TestTokenizers:
    def test_auto_split_oracle(self, rng):
        x = normal(rng, 6, 5, 3)
        layer = layers.AutoSplitTokenizer(4, 2)
        layer(x)
        gain, kernel, bias = randomised(layer, rng)
        flat = x.reshape(6, 15).astype("float64")
        flat = gain * flat / np.sqrt(np.mean(flat**2, -1, keepdims=True) + 1e-6)
        expected = (flat @ kernel + bias).reshape(6, 4, 2)
        np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)

    def test_sequences_come_first_and_one_after_the_other(self, rng):
        x, first, second = normal(rng, 6, 4, 8), normal(rng, 6, 5, 3), normal(rng, 6, 2, 3)
        masks = rng.random((6, 5)) < 0.5, rng.random((6, 2)) < 0.5
        layer = layers.SequenceTokenizer()
        tokens, mask = layer(x, [(first, masks[0]), (second, masks[1])])
        assert tuple(tokens.shape) == (6, 11, 8)
        expected = np.concatenate([*masks, np.ones((6, 4), bool)], axis=1)
        np.testing.assert_array_equal(ops.convert_to_numpy(mask), expected)
        changed, _ = layer(x, [(first, masks[0]), (second + 1, masks[1])])
        difference = np.abs(ops.convert_to_numpy(changed) - ops.convert_to_numpy(tokens))
        assert difference[:, 5:7].min() > 0
        assert difference[:, :5].max() == difference[:, 7:].max() == 0

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.AutoSplitTokenizer(4, 2), normal(rng, 6, 5, 3), (6, 4, 2))
        histories = [(normal(rng, 6, 5, 3), np.ones((6, 5), bool))]
        x = normal(rng, 6, 4, 8)
        testing.check_layer(layers.SequenceTokenizer(), x, call_kwargs={"histories": histories})
        tokens, mask = layers.SequenceTokenizer()(x, [])
        np.testing.assert_array_equal(ops.convert_to_numpy(tokens), x)
        assert ops.convert_to_numpy(mask).all()


def test_every_public_layer_is_tested():
    source = "".join(
        path.read_text() for path in pathlib.Path(__file__).parents[1].rglob("test_*.py")
    )
    used = set(re.findall(r"layers\.(\w+)[(,]", source))  # made, or among the kinds of a test
    made = [name for name in layers.__all__ if inspect.isclass(getattr(layers, name))]
    assert len(made) > 60 and not [name for name in made if name not in used]
