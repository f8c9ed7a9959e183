"""DIN, DIEN, BST, SIM and TransAct: their layers against NumPy, and what each promises."""

import exchange
import keras
import numpy as np
import polars as pl
import pytest
from keras import ops

import keras_ctr
from keras_ctr import Categorical, Numeric, Schema, Sequence, layers, testing, zoo
from keras_ctr.backend.internals import layers_of
from keras_ctr.layers.base import Layer

NAMES = ("din", "dien", "bst", "sim_soft", "transact")
SMALL = {name: exchange.SMALL[name] for name in NAMES}
MASK = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layer_norm(x, gain, shift, epsilon=1e-6):
    x = x - x.mean(-1, keepdims=True)
    return gain * x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) + shift


def randomised(layer, rng, scale=0.5):
    """Gives a layer's trainable weights values that are nowhere zero."""
    for weight in layer.trainable_weights:
        weight.assign(scale * normal(rng, *weight.shape))
    return [np.asarray(numpy(w), "float64") for w in layer.trainable_weights]


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def tensors(batch):
    return {key: ops.convert_to_tensor(array) for key, array in batch.items()}


@pytest.fixture
def history(rng):
    """Target `(3, 4)`, events `(3, 5, 4)` and their mask; the last row has no event."""
    return normal(rng, 3, 4), normal(rng, 3, 5, 4), MASK


def with_other_padding(history):
    """The same history with noise in the place of padding."""
    target, events, mask = history
    return target, np.where(mask[..., None], events, 7.0).astype("float32"), mask


READERS = {
    "raw": lambda: layers.TargetAttention([6]),
    "softmax": lambda: layers.TargetAttention([6, 3], "sigmoid", softmax=True),
    "bilinear": lambda: layers.BilinearAttention(),
    "heads": lambda: layers.MultiHeadTargetAttention(2, 3),
    "evolution": lambda: layers.InterestEvolution(),
    "unit": lambda: layers.InterestEvolution(layers.TargetAttention([6], softmax=True)),
    "bst": lambda: layers.BehaviorTransformer(2, num_heads=2),
    "bst_mean": lambda: layers.BehaviorTransformer(2, 2, num_heads=2, readout="mean"),
    "sim": lambda: layers.SearchedInterest(2, 2, 3, 2),
    "transact": lambda: layers.ActionTransformer(2, 2, 6, num_recent=2, hide_recent=2),
}


class TestReaders:
    """What every layer promises that reads a history for a target."""

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("name", READERS)
    def test_contract(self, name, rng):
        target, events, mask = normal(rng, 6, 4), normal(rng, 6, 5, 4), np.tile(MASK, (2, 1))
        frozen = {"evolution": ("tell", "mlp", "dense"), "unit": ("mlp", "dense_")}.get(name, ())
        testing.check_layer(
            READERS[name](), target, call_kwargs={"events": events, "mask": mask}, frozen=frozen
        )

    @pytest.mark.parametrize("training", [False, True])
    @pytest.mark.parametrize("name", READERS)
    def test_padding_changes_nothing(self, name, training, history, rng):
        layer = READERS[name]()
        layer(*history)
        randomised(layer, rng)
        seed = getattr(layer, "seed", None)  # what is hidden in training must be so in both calls
        start = None if seed is None else numpy(seed.state)

        def outputs(given):
            if seed is not None:
                seed.state.assign(start)
            return keras.tree.map_structure(numpy, layer(*given, training=training))

        one, other = (outputs(given) for given in (history, with_other_padding(history)))
        for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", READERS)
    def test_an_event_and_the_target_count(self, name, history, rng):
        layer, (target, events, mask) = READERS[name](), history
        layer(*history)
        randomised(layer, rng)

        def output(target, events):
            found = layer(target, events, mask)
            return numpy(found[0] if isinstance(found, tuple) else found)

        before = output(target, events)
        newer = events.copy()
        newer[:, -1, 0] += 1
        changed = np.abs(output(target, newer) - before).max(axis=1)
        assert changed[:2].min() > 1e-3 and changed[2] < 1e-6
        shift = np.array([1, 0, 0, 0], "float32")
        assert np.abs(output(target + shift, events) - before)[:2].max() > 1e-3

    @pytest.mark.parametrize("name", ["raw", "softmax", "bilinear", "heads", "evolution", "sim"])
    def test_no_event_is_zero(self, name, history, rng):
        layer = READERS[name]()
        layer(*history)
        randomised(layer, rng)
        found = layer(*history)
        found = numpy(found[0] if isinstance(found, tuple) else found)
        assert not found[2].any() and found[:2].any(axis=1).all()


class TestDice:
    def test_oracle(self, rng):
        x, layer = normal(rng, 50, 4), layers.Dice()
        layer(x)
        [alpha] = randomised(layer, rng)
        mean, variance = normal(rng, 4), np.square(normal(rng, 4)) + 0.1
        layer.norm.moving_mean.assign(mean)
        layer.norm.moving_variance.assign(variance)

        def by_hand(mean, variance):
            p = sigmoid((x - mean) / np.sqrt(variance + 1e-8))
            return p * x + alpha * (1 - p) * x

        np.testing.assert_allclose(numpy(layer(x)), by_hand(mean, variance), rtol=1e-4, atol=1e-6)
        found = numpy(layer(x, training=True))
        np.testing.assert_allclose(found, by_hand(x.mean(0), x.var(0)), rtol=1e-4, atol=1e-6)
        moved = 0.99 * mean + 0.01 * x.mean(0)
        np.testing.assert_allclose(numpy(layer.norm.moving_mean), moved, rtol=1e-4)

    def test_padding_does_not_enter_the_statistics(self, rng):
        x, layer = normal(rng, 3, 5, 4), layers.Dice()
        found = numpy(layer(x, mask=MASK, training=True))
        mean, variance = x[MASK].mean(0), x[MASK].var(0)
        expected = sigmoid((x - mean) / np.sqrt(variance + 1e-8)) * x
        np.testing.assert_allclose(found[MASK], expected[MASK], rtol=1e-4, atol=1e-5)

    def test_with_alpha_one_it_is_the_identity(self, rng):
        x = normal(rng, 6, 4)
        np.testing.assert_allclose(numpy(layers.Dice(alpha_initializer="ones")(x)), x, rtol=1e-5)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.Dice(), normal(rng, 6, 4), (6, 4))
        testing.check_layer(layers.Dice(1e-9, 0.9, "ones"), normal(rng, 6, 5, 4), (6, 5, 4))

    def test_as_an_activation(self, rng):
        tower = layers.get_tower(None, [4, 3], "dice")
        testing.check_layer(tower, normal(rng, 6, 5), (6, 3))
        assert [p.__class__.__name__ for p in tower.parts].count("Dice") == 2


class TestTargetAttention:
    @pytest.mark.parametrize("normalised", [False, True])
    def test_oracle(self, normalised, history, rng):
        target, events, mask = history
        layer = layers.TargetAttention([6, 3], "sigmoid", softmax=normalised)
        layer(*history)
        w1, b1, w2, b2, w3, b3 = randomised(layer, rng)
        expected = np.zeros((3, 4))
        for row in range(3):
            scores = []
            for e in events[row]:
                x = np.concatenate([target[row], e, target[row] - e, target[row] * e])
                scores.append((sigmoid(sigmoid(x @ w1 + b1) @ w2 + b2) @ w3 + b3)[0])
            there = np.flatnonzero(mask[row])
            weights = np.array(scores)[there]
            weights = softmax(weights) if normalised and len(there) else weights
            expected[row] = weights @ events[row][there]
        np.testing.assert_allclose(numpy(layer(*history)), expected, rtol=1e-4, atol=1e-5)
        assert layer.scores(*history).shape == (3, 5)

    def test_only_raw_weights_grow_with_the_number_of_events(self, rng):
        target, event = normal(rng, 1, 4), normal(rng, 1, 1, 4)
        for normalised, factor in ((False, 3), (True, 1)):
            layer = layers.TargetAttention([6], softmax=normalised)
            one = numpy(layer(target, event, np.ones((1, 1), bool)))
            three = numpy(layer(target, np.repeat(event, 3, axis=1), np.ones((1, 3), bool)))
            np.testing.assert_allclose(three, factor * one, rtol=1e-4)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="hidden_units"):
            layers.TargetAttention([])


def test_bilinear_attention(history, rng):
    target, events, mask = history
    layer = layers.BilinearAttention()
    layer(*history)
    for kernel in (np.eye(4), None):  # as it starts, then any
        kernel = randomised(layer, rng)[0] if kernel is None else kernel
        expected = np.zeros((3, 4))
        for row in range(2):
            there = events[row][mask[row]]
            expected[row] = softmax(there @ kernel @ target[row]) @ there
        np.testing.assert_allclose(numpy(layer(*history)), expected, rtol=1e-4, atol=1e-5)


def test_multi_head_target_attention(history, rng):
    target, events, mask = history
    layer = layers.MultiHeadTargetAttention(2, 3)
    layer(*history)
    ask, answer = randomised(layer, rng)
    expected = np.zeros((3, 8))
    for row in range(2):
        there = events[row][mask[row]]
        heads = [
            softmax((there @ answer[:, h]) @ (target[row] @ ask[:, h]) / 3**0.5) @ there
            for h in (slice(0, 3), slice(3, 6))
        ]
        expected[row] = np.concatenate(heads)
    np.testing.assert_allclose(numpy(layer(*history)), expected, rtol=1e-4, atol=1e-5)


class TestAUGRU:
    def layer(self, rng, x, **config):
        layer = layers.AUGRU(3, **config)
        layer(x)
        randomised(layer, rng)
        return layer

    @pytest.mark.parametrize("scored", [False, True])
    @pytest.mark.parametrize("masked", [False, True])
    def test_oracle(self, rng, scored, masked):
        x, scores = normal(rng, 3, 5, 4), rng.random((3, 5)).astype("float32")
        layer = self.layer(rng, x, return_sequences=True)
        w, u, (b, c) = (np.asarray(numpy(weight), "float64") for weight in layer.weights)
        given = {"scores": scores if scored else None, "mask": MASK if masked else None}
        found = numpy(layer(x, **given))
        for row in range(3):
            h = np.zeros(3)
            for t in range(5):
                if MASK[row, t] or not masked:
                    now, past = x[row, t] @ w + b, h @ u + c
                    reset, update = sigmoid(now[:3] + past[:3]), sigmoid(now[3:6] + past[3:6])
                    update = update * (scores[row, t] if scored else 1)
                    h = (1 - update) * h + update * np.tanh(now[6:] + reset * past[6:])
                np.testing.assert_allclose(found[row, t], h, rtol=1e-4, atol=1e-5)
        last = layers.AUGRU(3)
        last(x)
        last.set_weights(layer.get_weights())
        np.testing.assert_allclose(numpy(last(x, **given)), found[:, -1], rtol=1e-5, atol=1e-6)

    def test_without_scores_it_is_the_gru_of_keras(self, rng):
        """Whose update gate keeps instead of updating, and comes first."""
        x = normal(rng, 3, 5, 4)
        layer, other = self.layer(rng, x), keras.layers.GRU(3)
        other(x)
        theirs = []
        for weight in layer.get_weights():
            reset, update, new = np.split(weight, 3, axis=-1)
            theirs.append(np.concatenate([-update, reset, new], axis=-1))
        other.set_weights(theirs)
        np.testing.assert_allclose(numpy(layer(x)), numpy(other(x)), rtol=1e-4, atol=1e-5)

    def test_a_masked_step_is_no_step(self, rng):
        x = normal(rng, 1, 5, 4)
        layer, mask = self.layer(rng, x), np.array([[0, 1, 0, 1, 0]], bool)
        expected = numpy(layer(x[:, [1, 3]]))
        np.testing.assert_allclose(numpy(layer(x, mask=mask)), expected, rtol=1e-5, atol=1e-6)
        assert not numpy(layer(x, scores=np.zeros((1, 5), "float32"))).any()

    def test_a_later_event_changes_nothing_before_it(self, rng):
        x = normal(rng, 3, 5, 4)
        layer = self.layer(rng, x, return_sequences=True)
        before = numpy(layer(x))
        x[:, 2] += 1
        changed = np.abs(numpy(layer(x)) - before).max(axis=(0, 2)) > 1e-4
        np.testing.assert_array_equal(changed, [0, 0, 1, 1, 1])

    def test_small_steps_are_not_lost_in_half_precision(self, rng):
        x, scores = normal(rng, 4, 200, 4), np.full((4, 200), 1 / 200, "float32")
        full, half = (layers.AUGRU(3, dtype=d) for d in ("float32", "mixed_bfloat16"))
        expected = numpy(full(x, scores=scores))
        half(x)
        half.set_weights(full.get_weights())
        found = numpy(ops.cast(half(x, scores=scores), "float32"))
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("sequences", [False, True])
    def test_contract(self, rng, sequences):
        x, shape = normal(rng, 3, 5, 4), (3, 5, 6) if sequences else (3, 6)
        given = {"scores": rng.random((3, 5)).astype("float32"), "mask": MASK}
        testing.check_layer(layers.AUGRU(6, sequences), x, shape, call_kwargs=given)
        testing.check_layer(layers.AUGRU(), x, (3, 4))

    def test_flops(self, rng):
        """Per event: two products, biases, gates; by hand for `U = 8` and `S = 5`."""
        model = zoo.get("dien", **SMALL["dien"], aux_weight=0).adapt(testing.example_schema())
        d, steps = 4, 5
        step = 2 * d * 3 * d + 3 * d  # product with the state, bias
        step += 2 * (2 * d) + d + d + d  # sum and sigmoid of two gates, reset, sum and tanh
        step += d + d + d + d  # pace times update, difference, product, sum
        gru = steps * (2 * d * 3 * d + 3 * d) + steps * step + steps  # and the mask
        attention = 2 * d * d + 2 * d * steps + 5 * steps + 2 * steps  # where, softmax, mask
        assert keras_ctr.flops(model).parts["evolve"] == 2 * gru + attention
        one = layers.AUGRU()
        assert one.supports_jit == (keras.backend.backend() != "tensorflow")


class TestInterestEvolution:
    def test_is_attention_between_two_layers(self, history, rng):
        layer, (target, events, mask) = layers.InterestEvolution(), history
        layer(*history)
        randomised(layer, rng)
        interests = layer.extract(events, mask=mask)
        scores = numpy(layer.attention.scores(target, interests, mask))
        np.testing.assert_allclose(scores.sum(axis=1), [1, 1, 0], atol=1e-6)
        expected = layer.evolve(interests, scores=scores, mask=mask)
        np.testing.assert_allclose(numpy(layer(*history)), numpy(expected), rtol=1e-5, atol=1e-6)

    @pytest.mark.once
    def test_can_be_traced_by_torch(self, history):
        """With a batch whose size is not known while it traces."""
        import torch

        layer = layers.InterestEvolution()
        given = [torch.as_tensor(array) for array in history]
        _, loss = layer(*given, training=True)
        compiled = torch.compile(layer, backend="eager", dynamic=True)
        _, traced = compiled(*given, training=True)
        np.testing.assert_allclose(numpy(traced), numpy(loss), rtol=1e-5)

    def test_auxiliary_loss(self, history, rng):
        """Row 0 meets the events of row 1, row 1 those of row 2, which has none."""
        layer, (_, events, mask) = layers.InterestEvolution(), history
        layer(*history)
        randomised(layer, rng)
        h = numpy(layer.extract(events, mask=mask))
        (w1, b1), (w2, b2) = (p.get_weights() for p in layer.tell.parts if p.weights)
        w3, b3 = layer.logit.get_weights()

        def told(state, event):
            x = np.concatenate([state, event])
            return sigmoid(sigmoid(sigmoid(x @ w1 + b1) @ w2 + b2) @ w3 + b3)[0]

        first = sum(
            -np.log(told(h[0, t], events[0, t + 1])) - np.log(1 - told(h[0, t], events[1, t + 1]))
            for t in (2, 3)
        )
        second = sum(-np.log(told(h[1, t], events[1, t + 1])) for t in range(4))
        _, found = layer(*history, training=True)
        np.testing.assert_allclose(numpy(found), [[first, 2], [second, 4], [0, 0]], rtol=1e-4)

    def test_padding_of_the_next_row_becomes_its_newest_event(self, rng):
        events, mask = normal(rng, 2, 3, 4), np.array([[1, 1, 1], [0, 0, 1]], bool)
        layer = layers.InterestEvolution()
        layer(events[:, 0], events, mask)
        filled = events.copy()
        filled[1, :] = events[1, -1]
        everywhere = np.ones((2, 3), bool)
        one = layer(events[:, 0], events, mask, training=True)[1]
        other = layer(events[:, 0], filled, everywhere, training=True)[1]
        np.testing.assert_allclose(numpy(one)[0], numpy(other)[0], rtol=1e-5)

    def test_a_batch_of_one_has_no_other_row(self, rng):
        """What is left asks to tell the next event from nothing."""
        events, mask = normal(rng, 1, 3, 4), np.ones((1, 3), bool)
        layer = layers.InterestEvolution()
        layer(events[:, 0], events, mask)
        layer.logit.set_weights([np.zeros((50, 1)), np.array([2.0])])
        _, found = layer(events[:, 0], events, mask, training=True)
        np.testing.assert_allclose(numpy(found), [[2 * np.log1p(np.exp(-2)), 2]], rtol=1e-4)

    def test_only_in_training_and_where_wanted(self, history):
        assert layers.InterestEvolution()(*history).shape == (3, 4)
        plain = layers.InterestEvolution(auxiliary=False)
        assert plain(*history, training=True).shape == (3, 4)
        assert not [w for w in plain.weights if "mlp" in w.path]


class TestPostNorm:
    @pytest.mark.parametrize("masked", [False, True])
    def test_oracle(self, rng, masked):
        x, mask = normal(rng, 3, 5, 4), MASK.copy()
        mask[2] = [1, 0, 1, 0, 1]
        layer = layers.PostNormLayer(2, 7)
        layer(x)
        randomised(layer, rng)
        wq, wkv, wo = (numpy(w) for w in layer.attend.weights)
        (g1, s1), (g2, s2) = (norm.get_weights() for norm in layer.norms)
        (w1, b1), (w2, b2) = layer.up.get_weights(), layer.down.get_weights()
        q, (k, v) = x @ wq, np.split(x @ wkv, 2, axis=-1)
        mixed = []
        for h in (slice(0, 2), slice(2, 4)):
            scores = q[..., h] @ k[..., h].transpose(0, 2, 1) / 2**0.5
            scores = np.where(mask[:, None], scores, -1e9) if masked else scores
            mixed.append(softmax(scores) @ v[..., h])
        y = layer_norm(x + np.concatenate(mixed, axis=-1) @ wo, g1, s1)
        expected = layer_norm(y + np.maximum(y @ w1 + b1, 0) @ w2 + b2, g2, s2)
        found = numpy(layer(x, mask=mask if masked else None))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        layer = layers.PostNormLayer(2, activation="leaky_relu", dropout=0.1)
        testing.check_layer(layer, normal(rng, 6, 5, 4), (6, 5, 4))


class TestBehaviorTransformer:
    @pytest.mark.parametrize("readout", ["target", "mean"])
    def test_oracle(self, readout, history, rng):
        target, events, mask = history
        layer = layers.BehaviorTransformer(2, 2, num_heads=2, readout=readout)
        layer(*history)
        randomised(layer, rng)
        position = np.broadcast_to(numpy(layer.position), (3, 6, 2))
        x = np.concatenate([events, target[:, None]], axis=1)
        x = np.concatenate([x, position], axis=-1)
        mask = np.concatenate([mask, np.ones((3, 1), bool)], axis=1)
        for unit in layer.encode:
            x = numpy(unit(x, mask=mask))
        mean = np.stack([row[there].mean(0) for row, there in zip(x, mask, strict=True)])
        expected = x[:, -1] if readout == "target" else mean
        np.testing.assert_allclose(numpy(layer(*history)), expected, rtol=1e-4, atol=1e-5)

    def test_positions_start_as_sinusoids(self, history):
        layer = layers.BehaviorTransformer(4, num_heads=2)
        layer(*history)
        at = np.arange(6)[::-1]  # the target is place 0
        expected = [np.sin(at), np.cos(at), np.sin(at / 100), np.cos(at / 100)]
        np.testing.assert_allclose(numpy(layer.position), np.transpose(expected), atol=1e-6)

    def test_bad_input(self, history):
        for config in ({"position_dim": 3}, {"num_layers": 0}, {"readout": "sum"}):
            with pytest.raises(ValueError, match=next(iter(config))):
                layers.BehaviorTransformer(**{"position_dim": 2, **config})
        with pytest.raises(ValueError, match=r"token width 6: one of \[1, 2, 3, 6\]"):
            layers.BehaviorTransformer(2, num_heads=4)(*history)


class TestSoftSearch:
    def test_of_equal_scores_the_oldest_comes_first(self, rng):
        """A missing target is a zero vector: all scores are equal, on every backend alike."""
        events = normal(rng, 2, 40, 4)
        layer = layers.SoftSearch(3, dim=3)
        found, there, _ = layer(np.zeros((2, 4), "float32"), events, np.ones((2, 40), bool))
        np.testing.assert_array_equal(ops.convert_to_numpy(found), events[:, :3])
        assert ops.convert_to_numpy(there).all()

    @pytest.mark.parametrize("top_k", [2, 9])
    def test_oracle(self, top_k, history, rng):
        target, events, mask = history
        layer = layers.SoftSearch(top_k, dim=3)
        layer(*history)
        ask, answer = randomised(layer, rng)
        found, there, pooled = (numpy(part) for part in layer(*history))
        assert found.shape == (3, min(top_k, 5), 4)
        for row in range(3):
            seen = events[row][mask[row]]
            scores = (seen @ answer) @ (target[row] @ ask)
            best = seen[np.argsort(-scores)[:top_k]]
            np.testing.assert_array_equal(found[row][: len(best)], best)
            np.testing.assert_array_equal(there[row], np.arange(len(there[row])) < len(best))
            np.testing.assert_allclose(pooled[row], scores @ seen, rtol=1e-4, atol=1e-5)

    def test_only_the_pooled_output_teaches(self, history, rng):
        layer = layers.SoftSearch(2, dim=3)
        layer(*history)
        for part, taught in ((0, False), (2, True)):
            found = testing.gradients(
                lambda at=part: ops.sum(ops.square(layer(*history)[at])) + 0 * ops.sum(layer.ask),
                layer.trainable_weights,
            )
            assert [bool(g.any()) for g in found] == [taught] * 2

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        given = {"events": normal(rng, 3, 5, 4), "mask": MASK}
        testing.check_layer(layers.SoftSearch(2, 3), normal(rng, 3, 4), call_kwargs=given)

    def test_bad_input(self):
        for config in ({"top_k": 0}, {"dim": 0}):
            with pytest.raises(ValueError, match=next(iter(config))):
                layers.SoftSearch(**config)


class TestSearchedInterest:
    def test_parts(self, history, rng):
        """With `top_k` of at least all events the first part is attention over them all."""
        layer, (target, events, mask) = layers.SearchedInterest(9, 2, 3, 2), history
        layer(*history)
        randomised(layer, rng)
        long, short = np.split(numpy(layer(*history)[0]), [8], axis=-1)
        expected = numpy(layer.long(target, events, mask))
        np.testing.assert_allclose(long, expected, rtol=1e-4, atol=1e-5)
        expected = numpy(layer.attention(target, events[:, -2:], mask[:, -2:]))
        np.testing.assert_allclose(short, expected, rtol=1e-4, atol=1e-5)

    def test_an_event_that_is_neither_found_nor_new_changes_nothing(self, history, rng):
        layer, (target, events, _) = layers.SearchedInterest(1, 1, 3), history
        mask = np.ones((3, 5), bool)
        layer(target, events, mask)
        query, key = target @ numpy(layer.search.ask), events @ numpy(layer.search.answer)
        scores = np.einsum("bd,bsd->bs", query, key)
        before = numpy(layer(target, events, mask)[0])
        for row in range(3):
            others = [t for t in range(4) if t != scores[row].argmax()]
            changed = events.copy()
            changed[row, others] *= 0.999
            found, pooled = layer(target, changed, mask)
            np.testing.assert_allclose(numpy(found), before, rtol=1e-6)
            changed[row, scores[row].argmax()] *= 1.01
            assert np.abs(numpy(layer(target, changed, mask)[0]) - before).max() > 1e-5


class TestActionTransformer:
    def test_oracle(self, history, rng):
        target, events, mask = history
        layer = layers.ActionTransformer(1, 2, 6, num_recent=3)
        layer(*history)
        randomised(layer, rng)
        kernel, bias = layer.project.get_weights()
        x = np.concatenate([events, np.repeat(target[:, None], 5, axis=1)], axis=-1)
        x = numpy(layer.encode[0](x, mask=mask)) * mask[..., None]
        most = [x[row][mask[row]].max(0) if mask[row].any() else np.zeros(8) for row in range(3)]
        expected = np.concatenate([x[:, -3:].reshape(3, 24), most @ kernel + bias], axis=-1)
        np.testing.assert_allclose(numpy(layer(*history)), expected, rtol=1e-4, atol=1e-5)

    def test_newest_events_are_hidden_in_training(self, rng):
        target, events, mask = normal(rng, 2, 4), normal(rng, 2, 5, 4), np.ones((2, 5), bool)
        layer = layers.ActionTransformer(1, 2, 6, num_recent=5, hide_recent=2)
        layer(target, events, mask)
        hidden = set()
        for _ in range(40):
            rows = numpy(layer(target, events, mask, training=True))[:, :40].reshape(2, 5, 8)
            gone = ~rows.any(axis=-1)
            assert (gone == (np.arange(5) >= 5 - gone[0].sum())).all()  # the newest, in every row
            hidden.add(int(gone[0].sum()))
        assert hidden == {0, 1, 2}
        assert numpy(layer(target, events, mask))[:, :40].all()

    def test_bad_input(self):
        for config in ({"num_layers": 0}, {"num_recent": 0}, {"hide_recent": -1}):
            with pytest.raises(ValueError, match=next(iter(config))):
                layers.ActionTransformer(**config)


SEVERAL = Schema(
    [
        Categorical("user", 30),
        Categorical("category", 8),
        Categorical("item", 20),
        Numeric("price"),
        Sequence("items", of="item", length=5),
        Sequence("bought", of="item", length=3),
        Sequence("categories", of="category", length=5),
    ]
)


class Echo(Layer):
    """Returns what it is called with."""

    def build(self, target_shape, events_shape, mask_shape):
        pass

    def call(self, target, events, mask):
        return target, events, mask


class TestPerHistory:
    def found(self, rng, groups=None):
        x = normal(rng, 3, 4, 2)
        histories = [(normal(rng, 3, s, 2), rng.random((3, s)) < 0.5) for s in (5, 3, 5)]
        layer = layers.PerHistory(Echo(), groups, schema=SEVERAL)
        return x, histories, keras.tree.map_structure(numpy, layer(x, histories))

    def test_every_history_meets_the_field_it_is_of(self, rng):
        x, histories, found = self.found(rng)
        assert len(found) == 3
        for at, field in enumerate((2, 2, 1)):
            np.testing.assert_array_equal(found[at][0], x[:, field])
            np.testing.assert_array_equal(found[at][1], histories[at][0])
            np.testing.assert_array_equal(found[at][2], histories[at][1])

    def test_groups_stand_side_by_side(self, rng):
        x, histories, found = self.found(rng, [["items", "categories"]])
        assert len(found) == 2
        np.testing.assert_array_equal(found[0][0], x[:, [2, 1]].reshape(3, 4))
        both = np.concatenate([histories[0][0], histories[2][0]], axis=-1)
        np.testing.assert_array_equal(found[0][1], both)
        np.testing.assert_array_equal(found[0][2], histories[0][1] | histories[2][1])
        np.testing.assert_array_equal(found[1][1], histories[1][0])

    def test_copies_have_weights_of_their_own(self, rng):
        pattern = layers.TargetAttention([6])
        layer = layers.PerHistory(pattern, schema=SEVERAL)
        layer(normal(rng, 3, 4, 2), self.found(rng)[1])
        assert len(layer.trainable_weights) == 3 * 5 and not pattern.built

    def test_bad_input(self):
        for groups, message in (
            ([["items", "category"]], "Unknown sequence in `groups`: 'category'.*categories"),
            ([["items", "bought"]], "one `length` and one `keep`.*'bought': \\(3, 'last'\\)"),
            (["items", "categories"], "a list of lists.*Received: groups=.'items', 'categories'"),
            ([[]], "a list of lists"),
            ([["items"], ["items"]], "twice: items"),
        ):
            for name in NAMES:
                with pytest.raises(ValueError, match=message):
                    zoo.get(name, **SMALL[name], groups=groups).adapt(SEVERAL)
        ends = [Sequence(f"clicks_{keep}", "item", 5, keep=keep) for keep in ("first", "last")]
        with pytest.raises(ValueError, match="one `keep`.*'first'"):
            layers.PerHistory(Echo(), [["clicks_first", "clicks_last"]]).adapt(
                Schema([Categorical("item", 20), *ends])
            )
        with pytest.raises(ValueError, match="needs a schema with a `Sequence`.*'item'"):
            layers.PerHistory(Echo(), [["clicks"]]).adapt(Schema([Categorical("item", 20)]))
        with pytest.raises(ValueError, match="no schema"):
            layers.PerHistory(Echo())(np.zeros((3, 4, 2)), [])


def adapted(name, rng=None, schema=None, **config):
    model = zoo.get(name, **{**SMALL[name], **config}).adapt(schema or testing.example_schema())
    model.compile("adam")
    if rng is not None:
        randomised(model, rng)
    return model


class TestModels:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_history_of_one_event(self, name):
        schema = Schema([Categorical("item", 20), Sequence("history", of="item", length=1)])
        batch, label = testing.example_batch(schema)
        model = adapted(name, schema=schema)
        loss = model.fit(batch, label, batch_size=64, verbose=0).history["loss"]
        assert np.isfinite(loss).all()

    def test_histories_with_padding_on_the_right_are_refused(self):
        """Unless it is one row, whose newest event may be missing."""
        schema = testing.example_schema()
        batch, label = testing.example_batch(schema, rows=8)
        model = adapted("din")
        batch["history"][:] = [[0, 0, 0, 3, 4]]
        batch["history"][0] = [3, 4, 0, 0, 0]
        model.predict(batch, verbose=0)
        batch["history"][1:] = [5, 5, 5, 5, 5]
        model.predict(batch, verbose=0)
        batch["history"][2] = [5, 4, 3, 0, 0]
        for use in (model.predict, lambda *x, **k: model.fit(*x, label, **k)):
            with pytest.raises(ValueError, match=r"right-aligned.*'history'.*\[3, 4, 0, 0, 0\]"):
                use(batch, verbose=0)

    @pytest.mark.parametrize("name", NAMES)
    def test_more_padding_changes_nothing(self, name, rng):
        """Histories of length 5 and 8 that hold the same events."""
        longer = Schema(
            [f for f in testing.example_schema() if f.name != "history"]
            + [Sequence("history", of="item", length=8)],
            label="click",
            group="user",
        )
        batch, _ = testing.example_batch(testing.example_schema())
        padded = {**batch, "history": np.pad(batch["history"], ((0, 0), (3, 0)))}
        short, long = adapted(name, rng), adapted(name, schema=longer)
        for to, weight in zip(long.weights, short.weights, strict=True):
            value = numpy(weight)  # positions are counted from the end
            to.assign(np.pad(value, ((3, 0), (0, 0))) if "position" in to.path else value)
        one, other = short.predict(batch, verbose=0), long.predict(padded, verbose=0)
        assert one.std() > 1e-3
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", NAMES)
    def test_histories_without_a_single_event(self, name, rng):
        batch, label = testing.example_batch(testing.example_schema())
        batch["history"][:] = 0
        model = adapted(name)
        model.compile(keras.optimizers.Adam(0.01))
        loss = model.fit(batch, label, epochs=2, verbose=0).history["loss"]
        p = model.predict(batch, verbose=0)
        assert np.isfinite(loss).all() and np.isfinite(p).all() and p.std() > 0

    @pytest.mark.parametrize(
        ("name", "groups"),
        [("din", None), *((name, [["items", "categories"]]) for name in NAMES)],
    )
    def test_several_sequences(self, name, groups, rng, tmp_path):
        batch, label = testing.example_batch(SEVERAL)
        model = adapted(name, rng, SEVERAL, groups=groups)
        before = model.predict(batch, verbose=0)
        for key in ("items", "bought", "categories"):
            other = {**batch, key: np.where(batch[key] > 0, 2 + batch[key] % 3, 0).astype("int32")}
            assert np.abs(model.predict(other, verbose=0) - before).max() > 1e-4, key
        y = ops.convert_to_tensor(label)
        missing = testing.without_gradient(
            lambda: model.compute_loss(y=y, y_pred=model(tensors(batch), training=True)),
            model.trainable_variables,
        )
        assert not missing
        model.save(tmp_path / "model.keras")
        again = zoo.load(tmp_path / "model.keras")
        expected = model.predict(batch, verbose=0)  # running statistics have moved
        np.testing.assert_array_equal(again.predict(batch, verbose=0), expected)

    @pytest.mark.parametrize("name", NAMES)
    def test_what_reads_the_histories_knows_that_it_is_training(self, name, monkeypatch):
        """Keras on JAX calls a model's `call` without the context that layers inherit it from."""
        batch, _ = testing.example_batch(testing.example_schema())
        model = adapted(name)
        [read] = layers_of(model, layers.PerHistory)
        call, seen = type(read.layer).call, []

        def watched(layer, *args, training=None):
            seen.append(training)
            return call(layer, *args, training=training)

        monkeypatch.setattr(type(read.layer), "call", watched)
        for training in (True, False):
            model.call(tensors(batch), training=training)
        assert seen == [True, False]

    def test_statistics_of_the_attention_move_in_training(self, rng):
        batch, label = testing.example_batch(testing.example_schema())
        model = adapted("din", rng)
        variance = model.attend.layer.activations[0].norm.moving_variance
        before = numpy(variance)
        model.predict(batch, verbose=0)
        np.testing.assert_array_equal(numpy(variance), before)
        model.fit(batch, label, verbose=0)
        assert (np.abs(numpy(variance) - before) > 1e-4).all()

    @pytest.mark.parametrize("name", NAMES)
    def test_without_sequences_the_rest_is_left(self, name, tmp_path):
        schema = Schema([Categorical("item", 20), Numeric("price")])
        batch, label = testing.example_batch(schema)
        model = adapted(name, schema=schema)
        model.compile("adam")
        model.fit(batch, label, verbose=0)
        model.save(tmp_path / "model.keras")
        again = zoo.load(tmp_path / "model.keras")
        expected = model.predict(batch, verbose=0)
        np.testing.assert_array_equal(again.predict(batch, verbose=0), expected)

    def test_din_takes_another_attention(self, rng):
        unit = layers.TargetAttention([5], "relu", softmax=True)
        one, other = (adapted("din", attention=unit) for _ in range(2))
        assert one.attention is unit and one.attend.layer.softmax
        assert one.attend.layer is not other.attend.layer is not unit
        again = zoo.DIN.from_config(one.get_config())
        assert again.attend.layer.activation == "relu"
        assert adapted("dien", attention=unit).evolve.layer.attention.softmax

    def test_transact_hides_recent_events_in_training_only(self, rng):
        batch, _ = testing.example_batch(testing.example_schema())
        model = adapted("transact", rng, hide_recent=5)
        calls = [numpy(model(tensors(batch), training=True)) for _ in range(8)]
        assert np.std(calls, axis=0).max() > 1e-4
        np.testing.assert_array_equal(numpy(model(tensors(batch))), numpy(model(tensors(batch))))

    @pytest.mark.parametrize(
        ("name", "config", "message"),
        [
            ("bst", {"num_heads": 3}, r"one of \[1, 2, 4, 8\]"),
            ("bst", {"readout": "sum"}, "`readout`"),
            ("bst", {"embedding_dim": 5}, "`position_dim` must be even"),
            ("transact", {"num_heads": 3}, r"one of \[1, 2, 4, 8\]"),
            ("transact", {"num_recent": 0}, "`num_recent` must be at least 1"),
            ("sim_soft", {"top_k": 0}, "`top_k` must be at least 1"),
            ("sim_soft", {"num_recent": 0}, "`num_recent` must be at least 1"),
            ("sim_soft", {"top_k": 2.5}, "`top_k` must be at least 1, a whole number"),
            ("sim_soft", {"aux_weight": -1.0}, "`aux_weight` must not be negative"),
            ("dien", {"aux_weight": -1.0}, "`aux_weight` must not be negative"),
            ("dien", {"attention": layers.TargetAttention([5])}, "between 0 and 1.*softmax=False"),
            ("dien", {"attention": layers.MultiHeadTargetAttention()}, "a method `scores`"),
            ("din", {"attention": "softmax"}, "must be a layer.*'softmax'"),
            ("transact", {"hide_recent": 2.5}, "`hide_recent` must be"),
        ],
    )
    def test_bad_input(self, name, config, message):
        with pytest.raises(ValueError, match=message):
            adapted(name, **config)


class TestAuxiliaryLosses:
    @pytest.mark.parametrize("name", ["dien", "sim_soft"])
    def test_act_in_training_only(self, name, rng):
        batch, label = testing.example_batch(testing.example_schema())
        y, x = ops.convert_to_tensor(label), tensors(batch)
        model = adapted(name, rng)
        model.compile("adam")
        p, training = model(x), model(x, training=True)
        assert p.shape == (64, 1) and training.shape[1] > 1
        found = model.evaluate(batch, label, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(found["logloss"], rel=1e-5)
        without = adapted(name, aux_weight=0)
        assert without(x, training=True).shape == (64, 1)
        assert without.count_params() < model.count_params()
        loss = [float(model.compute_loss(y=y, y_pred=part)) for part in (training[:, :1], training)]
        model.aux_weight = 3.0
        thrice = float(model.compute_loss(y=y, y_pred=training))
        assert thrice - loss[0] == pytest.approx(3 * (loss[1] - loss[0]), rel=1e-4)
        assert loss[1] > loss[0] + 0.1

    def test_of_dien_is_the_mean_over_all_events(self):
        model = adapted("dien", aux_weight=0.5)
        y = ops.convert_to_tensor(np.array([[1.0], [0.0], [1.0]], "float32"))
        pairs = np.array([[0.5, 6.0, 2], [0.5, 0.0, 0], [0.5, 3.0, 4]], "float32")
        found = float(model.compute_loss(y=y, y_pred=ops.convert_to_tensor(pairs)))
        assert found == pytest.approx(np.log(2) + 0.5 * 9 / 6, rel=1e-5)
        pairs[:, 1:] = 0  # not a single event
        found = float(model.compute_loss(y=y, y_pred=ops.convert_to_tensor(pairs)))
        assert found == pytest.approx(np.log(2), rel=1e-5)

    @pytest.mark.parametrize("name", ["dien", "sim_soft"])
    def test_weights_weigh_them_too(self, name, rng):
        """Of rows with equal weights the whole loss is as many times as large; of none it is 0."""
        batch, label = testing.example_batch(testing.example_schema())
        model = adapted(name, rng)
        model.compile("adam")
        y, p = ops.convert_to_tensor(label), model(tensors(batch), training=True)
        plain = float(model.compute_loss(y=y, y_pred=p))
        for weight in (0.0, 2.0):
            weights = ops.convert_to_tensor(np.full(len(label), weight, "float32"))
            found = float(model.compute_loss(y=y, y_pred=p, sample_weight=weights))
            assert found == pytest.approx(weight * plain, rel=1e-5)
        one = np.eye(1, len(label), 3, dtype="float32")[0]  # the fourth row alone
        found = float(model.compute_loss(y=y, y_pred=p, sample_weight=ops.convert_to_tensor(one)))
        other = numpy(p).copy()
        other[np.arange(len(label)) != 3, :2] = 0.9
        other = ops.convert_to_tensor(other)
        again = float(model.compute_loss(y=y, y_pred=other, sample_weight=one))
        assert found == pytest.approx(again, rel=1e-5)

    def test_nothing_else_teaches_the_search(self, rng):
        batch, label = testing.example_batch(testing.example_schema())
        model = adapted("sim_soft", rng)
        y = ops.convert_to_tensor(label)
        missing = testing.without_gradient(
            lambda: model.compute_loss(y=y, y_pred=model(tensors(batch))), model.trainable_variables
        )
        search = [*model.search.layer.search.weights, *model.search_tower.weights]
        assert {w.path for w in search} <= set(missing)
        assert len(missing) == len(search) + len(model.search_click.weights)

    def test_dien_learns_what_follows_what(self):
        """A cycle of items, and labels that say nothing: only the auxiliary loss can fall."""
        rng = np.random.default_rng(0)
        schema = Schema([Categorical("item", 8), Sequence("history", of="item", length=6)])
        start = rng.integers(0, 6, (256, 1))
        batch = {
            "ids": np.full((256, 1), 2, "int32"),
            "history": (2 + (start + np.arange(6)) % 6).astype("int32"),
        }
        label = np.tile([[0.0], [1.0]], (128, 1)).astype("float32")
        model = adapted("dien", schema=schema, hidden_units=[4])
        model.compile(keras.optimizers.Adam(0.03))
        loss = model.fit(batch, label, batch_size=128, epochs=30, verbose=0).history["loss"]
        assert loss[0] > 3 * np.log(2) - 0.2 and loss[-1] < loss[0] - 0.5


class TestBatchAwareL2:
    SCHEMA = Schema(
        [Categorical("user", 6), Categorical("item", 5), Sequence("history", of="item", length=3)]
    )
    BATCH = {
        "ids": np.array([[2, 3], [2, 4], [3, 0], [2, 2]], "int32"),
        "history": np.array([[0, 3, 3], [0, 0, 2], [0, 0, 0], [2, 3, 4]], "int32"),
    }
    # Rows: user 2, 3 (thrice and once), then item 2, 3, 4 with 6 users before them.
    COUNTS = {2: 3, 3: 1, 6 + 2: 3, 6 + 3: 4, 6 + 4: 2}

    def model(self, rng, **kwargs):
        model = zoo.get("din", embedding_dim=4, hidden_units=[8]).adapt(self.SCHEMA)
        randomised(model, rng)
        model.compile(keras.optimizers.SGD(0.0), **kwargs)
        return model

    def test_oracle(self, rng):
        label = np.ones((4, 1), "float32")
        model = self.model(rng, batch_l2=0.5)
        model.fit(self.BATCH, label, verbose=0)  # to count
        some = {key: ops.convert_to_tensor(array[:2]) for key, array in self.BATCH.items()}
        p = ops.convert_to_tensor(np.full((2, 1), 0.5, "float32"))
        table = model.embed.table

        def loss(x):
            return model.compute_loss(x=x, y=ops.ones((2, 1)), y_pred=p)

        rows = [2, 6 + 2, 6 + 3, 6 + 4]  # of the first two rows of the batch
        squares = np.square(numpy(table)).sum(axis=1)
        expected = 0.25 * sum(squares[j] / self.COUNTS[j] for j in rows)
        assert float(loss(some)) - float(loss(None)) == pytest.approx(expected, rel=1e-4)
        [found] = testing.gradients(lambda: loss(some), [table])
        expected = np.zeros((11, 4))
        for j in rows:
            expected[j] = 0.5 * numpy(table)[j] / self.COUNTS[j]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)

    def test_in_fit(self, rng):
        """In the compiled step too; and not in evaluation."""
        label = np.ones((4, 1), "float32")
        plain, model = self.model(rng), self.model(np.random.default_rng(0), batch_l2=2.0)
        model.set_weights(plain.get_weights())
        squares = np.square(numpy(model.embed.table)).sum(axis=1)
        expected = sum(squares[j] / n for j, n in self.COUNTS.items())
        one, other = (
            m.fit(self.BATCH, label, batch_size=4, verbose=0).history["loss"][0]
            for m in (plain, model)
        )
        assert other - one == pytest.approx(expected, rel=1e-4)
        twice = {key: np.concatenate([a, a]) for key, a in self.BATCH.items()}
        again = model.fit(twice, np.ones((8, 1)), batch_size=8, verbose=0).history["loss"][0]
        assert again - one == pytest.approx(expected / 2, rel=1e-3)  # counts are those of the data
        found = model.evaluate(self.BATCH, label, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(found["logloss"], rel=1e-5)

    def test_rows_for_validation_are_not_counted(self, rng):
        model = self.model(rng, batch_l2=0.5)
        model.fit(self.BATCH, np.ones((4, 1)), validation_split=0.5, verbose=0)
        expected = {2: 2, 6 + 2: 1, 6 + 3: 3, 6 + 4: 1}  # of the first two rows
        assert {at: n for at, n in enumerate(model._counts[0]) if n} == expected

    def test_counts_are_those_of_a_data_set(self):
        rng = np.random.default_rng(0)
        df = {"a": rng.integers(0, 9, 100), "click": rng.integers(0, 2, 100)}
        train, *_ = keras_ctr.datasets.from_pandas(
            pl.DataFrame(df), label="click", valid=0, test=0, batch_size=16
        )
        model = zoo.get("fm", embedding_dim=4)
        model.compile("adam", batch_l2=0.1)
        model.fit(train, verbose=0)
        ids = np.concatenate([train[at][0]["ids"][:, 0] for at in range(len(train))])
        expected = np.bincount(ids, minlength=len(model._counts[0]))
        np.testing.assert_array_equal(model._counts[0], expected)

    def test_is_saved(self, rng, tmp_path):
        model = self.model(rng, batch_l2=0.5)
        model.fit(self.BATCH, np.ones((4, 1)), verbose=0)
        model.save(tmp_path / "model.keras")
        assert zoo.load(tmp_path / "model.keras").batch_l2 == 0.5

    def test_bad_input(self, rng):
        with pytest.raises(ValueError, match="`batch_l2` must not be negative"):
            self.model(rng, batch_l2=-0.5)
        model = self.model(rng, batch_l2=0.5)
        with pytest.raises(ValueError, match="call `fit`"):
            model.train_on_batch(self.BATCH, np.ones((4, 1), "float32"))
        with pytest.raises(ValueError, match="read twice.*generator"):
            model.fit((pair for pair in [(self.BATCH, np.ones((4, 1)))]), verbose=0)
