"""OneTrans's tokens, mask and pyramid; DeRes on its three backbones."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import Categorical, Schema, Sequence, layers, losses, testing, zoo
from keras_ctr._config import arguments
from keras_ctr.layers import residuals

SIZES = {"embedding_dim": 4, "token_dim": 8, "num_heads": 2}
GROUPS = [["item", "price"], ["user", "hour", "age", "item"]]


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def example(schema=None):
    batch, label = testing.example_batch(schema or testing.example_schema())
    return {key: ops.convert_to_tensor(array) for key, array in batch.items()}, label


def randomised(model):
    for weight in model.trainable_weights:  # one that starts at zero may silence its factor
        weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
    return model


class TestGroups:
    def test_oracle(self, rng):
        x = normal(rng, 6, 5, 3)  # user, item, hour, price, age
        layer = layers.GroupTokenizer(GROUPS, 2, schema=testing.example_schema())
        layer(x)
        for token, members in enumerate([[1, 3], [0, 2, 4, 1]]):
            flat = x[:, members].reshape(6, -1)
            flat = flat / np.sqrt(np.mean(flat**2, -1, keepdims=True) + 1e-6)
            kernel, bias = layer.projections[token].get_weights()
            expected = flat @ kernel + bias
            np.testing.assert_allclose(numpy(layer(x))[:, token], expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        layer = layers.GroupTokenizer(GROUPS, 2, schema=testing.example_schema())
        testing.check_layer(layer, normal(rng, 6, 5, 3), (6, 2, 2))

    def test_in_a_model(self, tmp_path):
        model = zoo.get("deres", **SIZES, num_layers=2, groups=GROUPS)
        randomised(model.adapt(testing.example_schema()))
        batch, _ = example()
        model.save(tmp_path / "model.keras")
        again = zoo.load(tmp_path / "model.keras")
        np.testing.assert_array_equal(numpy(again(batch)), numpy(model(batch)))

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            ([["user", "itme"]], "Did you mean 'item'"),
            ([["user", "item"]], r"every column.*'hour', 'price', 'age'"),
            ([["user"], []], "none empty"),
        ],
    )
    def test_bad_input(self, groups, message):
        with pytest.raises(ValueError, match=message):
            zoo.get("onetrans", **SIZES, groups=groups).adapt(testing.example_schema())


class TestSequences:
    def test_separators_stand_between_histories(self, rng):
        x, first, second = normal(rng, 6, 4, 8), normal(rng, 6, 5, 3), normal(rng, 6, 2, 3)
        masks = np.zeros((6, 5), bool), np.zeros((6, 2), bool)
        layer = layers.SequenceTokenizer(separator=True)
        tokens, mask = layer(x, [(first, masks[0]), (second, masks[1])])
        assert tuple(tokens.shape) == (6, 12, 8)
        np.testing.assert_array_equal(numpy(mask), [[0] * 5 + [1] + [0] * 2 + [1] * 4] * 6)
        expected = np.broadcast_to(numpy(layer.separators), (6, 8))
        np.testing.assert_array_equal(numpy(tokens)[:, 5], expected)

    def test_two_histories_in_a_model(self):
        features = [Categorical("item", 20), Categorical("user", 9)]
        features += [Sequence(name, of="item", length=4) for name in ("liked", "disliked")]
        schema = Schema(features)
        batch, label = example(schema)
        model = randomised(zoo.get("onetrans", **SIZES, num_tokens=3, num_layers=2).adapt(schema))
        assert not testing.without_gradient(
            lambda: ops.mean(losses.LogLoss()(label, model(batch))), model.trainable_variables
        )

    @pytest.mark.parametrize(("pyramid", "left"), [(True, [17, 10, 3]), (False, [23, 23, 3])])
    def test_pyramid_drops_the_oldest_events_in_even_steps(self, pyramid, left):
        """20 events: two thirds of them (14) are left after the first of three layers, then 7."""
        model = zoo.get("onetrans", **SIZES, num_tokens=3, num_layers=3, pyramid=pyramid)
        shape, found = (None, 23, 8), []
        for unit in model.stack.units:
            shape = unit.compute_output_shape(shape)
            found.append(shape[1])
        assert found == left

    def test_a_later_token_changes_nothing_before_it(self, rng):
        x = normal(rng, 2, 9, 8)
        model = zoo.get("onetrans", **SIZES, num_tokens=3, num_layers=2, pyramid=False)
        model.stack.build((None, 9, 8))
        before = numpy(model.stack.units[0](x))
        x[:, 5, 0] += 1
        changed = np.abs(numpy(model.stack.units[0](x)) - before).max(axis=(0, 2)) > 1e-5
        np.testing.assert_array_equal(changed, [False] * 5 + [True] * 4)


class TestSizes:
    @pytest.mark.parametrize("name", ["onetrans", "deres", "mhc"])
    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"num_heads": 3}, r"`num_heads` must divide .* 8: one of \[1, 2, 4, 8\]"),
            ({"num_layers": 0}, "`num_layers` must be at least 1"),
            ({"num_tokens": 0}, "`num_tokens` must be at least 1"),
            ({"granularity": "block"}, "`granularity` must be one of"),
        ],
    )
    def test_are_checked_when_the_model_is_made(self, name, config, message):
        with pytest.raises(ValueError, match=message):
            zoo.get(name, **{**SIZES, **config})

    def test_share_of_tokens(self):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            layers.SelfAttention(2, keep=1.5)


class TestDeRes:
    @pytest.mark.once
    @pytest.mark.parametrize("backbone", ["tokenmixer_large", "unimixer"])
    @pytest.mark.parametrize("granularity", ["layer", "sublayer"])
    def test_starts_as_its_backbone(self, backbone, granularity, tmp_path):
        sizes = {"embedding_dim": 4, "token_dim": 8, "num_tokens": 4, "num_layers": 2}
        sizes["granularity"] = granularity
        if backbone == "tokenmixer_large":
            sizes["num_heads"] = 4
        schema, (batch, _) = testing.example_schema(), example()
        model = zoo.get("deres", **sizes, backbone=backbone).adapt(schema)
        plain = zoo.get(backbone, **sizes, residual=residuals.Identity())
        plain.adapt(schema)
        for weight in plain.weights:
            weight.assign(keras.random.normal(weight.shape, stddev=0.3))
        kept = [w for w in model.network.weights if "/gated" not in w.path]
        assert len(kept) == len(plain.weights) < len(model.weights)
        for weight, other in zip(kept, plain.weights, strict=True):
            weight.assign(other)
        np.testing.assert_allclose(numpy(model(batch)), numpy(plain(batch)), rtol=1e-4, atol=1e-5)
        assert len(model.residual_map(testing.example_batch(schema)[0])["gate"]) > 1
        model.save(tmp_path / "model.keras")
        again = zoo.load(tmp_path / "model.keras")
        np.testing.assert_array_equal(numpy(again(batch)), numpy(model(batch)))

    def test_has_the_arguments_of_its_default_backbone(self):
        own = arguments(zoo.DeRes)
        assert own.pop("backbone") == "onetrans"
        assert own.pop("granularity") == zoo.OneTrans.default_granularity
        assert own == {k: v for k, v in arguments(zoo.OneTrans).items() if k != "granularity"}

    def test_unknown_backbone(self):
        with pytest.raises(ValueError, match="`backbone` must be one of"):
            zoo.get("deres", backbone="dcnv2")

    @pytest.mark.once  # sixteen layers take XLA long to compile
    def test_sixteen_layers_train(self):
        batch, label = testing.example_batch(testing.example_schema())
        model = zoo.get("deres", **SIZES, num_tokens=2, num_layers=16)
        model.adapt(testing.example_schema()).compile(keras.optimizers.Adam(0.01))
        history = model.fit(batch, label, epochs=3, batch_size=64, verbose=0).history["loss"]
        assert np.isfinite(history).all() and history[-1] < history[0]

    def test_scores_are_float32_under_mixed_precision(self, rng):
        residual = residuals.deres()
        residual.build((3, 8))
        x = ops.cast(normal(rng, 2, 4, 8), "bfloat16")
        (_, attention) = residual.write(residual.open(x), x, 0)
        for weight in residual.second.weights_at(attention[0], 1):
            assert keras.backend.standardize_dtype(weight.dtype) == "float32"
        assert keras.backend.standardize_dtype(residual.read(residual.open(x), 0)[0].dtype) == (
            "bfloat16"
        )
