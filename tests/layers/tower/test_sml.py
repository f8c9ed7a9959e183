"""Skip Meta Logit and its parts, towers by name, SeeDNorm; and what SML promises."""

import exchange
import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import layers, optimizers, recipes, testing, zoo
from keras_ctr._config import arguments


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def randomised(layer, rng, scale=0.5):
    """Gives a built layer weights that are nowhere zero, and returns them by name."""
    for weight in layer.trainable_weights:
        weight.assign(scale * normal(rng, *weight.shape))
    return {w.path.split("/")[-1]: np.asarray(numpy(w), "float64") for w in layer.weights}


def tanh_by_hand(layer, x):
    """`W ⊙ tanh(s(x) ⊙ x)` in NumPy."""
    w = {weight.path.split("/")[-1]: numpy(weight) for weight in layer.weights}
    s = x @ w["down"] if "down" in w else x
    s = s * w["kernel"] if layer.meta == "elementwise" else s @ w["kernel"]
    s = s + w.get("bias", 0.0)
    return w["gain"] * np.tanh(np.where(s > 0, s, layer.negative_slope * s) * x)


class TestMetaTanhNormalization:
    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"rank": 2},
            {"meta": "elementwise"},
            {"meta": "scalar", "negative_slope": 0.01},
            {"meta_init": "literal"},
        ],
    )
    def test_oracle_and_contract(self, rng, config):
        x = normal(rng, 6, 5)
        layer = layers.MetaTanhNormalization(**config)
        layer(x)
        randomised(layer, rng)
        expected = tanh_by_hand(layer, x)
        np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-4, atol=1e-6)
        testing.check_layer(layers.MetaTanhNormalization(**config), x, (6, 5))
        testing.check_layer(layers.MetaTanhNormalization(**config), x[:, None], (6, 1, 5))

    @pytest.mark.parametrize("config", [{}, {"rank": 2}, {"meta": "elementwise"}])
    def test_starts_as_tanh(self, rng, config):
        x = normal(rng, 6, 5)
        found = numpy(layers.MetaTanhNormalization(**config)(x))
        np.testing.assert_allclose(found, np.tanh(x), rtol=1e-5, atol=1e-6)

    def test_no_gradient_passes_through_the_learner(self, rng):
        """By the chain rule with `s` held still: `W ⊙ s(x) ⊙ (1 - tanh²)`."""
        x = keras.Variable(normal(rng, 6, 5))
        layer = layers.MetaTanhNormalization()
        layer(x)
        weights = randomised(layer, rng)
        s = numpy(layer.slopes(x.value))
        expected = weights["gain"] * s * (1 - np.tanh(s * numpy(x)) ** 2)
        found = testing.gradients(lambda: ops.sum(layer(x.value)), [x])[0]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)

    def test_variance_is_bounded(self, rng):
        """By 1, for any scale of the input and any learner, while `W` is 1."""
        layer = layers.MetaTanhNormalization()
        layer.build((None, 5))
        layer.kernel.assign(normal(rng, 5, 5))
        for scale in (1e-3, 1.0, 1e3):
            found = numpy(layer(scale * normal(rng, 200, 5)))
            assert found.var() <= 1 and np.abs(found).max() <= 1
        assert found.var() > 0.5  # the bound is nearly reached, not trivially kept

    def test_bad_input(self):
        for config in ({"meta": "full"}, {"meta_init": "zeros"}, {"rank": 0}):
            with pytest.raises(ValueError, match=next(iter(config))):
                layers.MetaTanhNormalization(**config)
        with pytest.raises(ValueError, match="rank.*dense"):
            layers.MetaTanhNormalization("scalar", rank=2)


class TestSkipLogit:
    def test_oracle(self, rng):
        hidden = [normal(rng, 6, width) for width in (5, 3, 1)]
        layer = layers.SkipLogit()
        layer(hidden)
        vectors = randomised(layer, rng)
        expected = sum(h @ vectors[f"vector_{at}"] for at, h in enumerate(hidden))
        np.testing.assert_allclose(numpy(layer(hidden)), expected, rtol=1e-4, atol=1e-6)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        testing.check_layer(layers.SkipLogit(), [normal(rng, 6, 5), normal(rng, 6, 3)], (6, 1))

    def test_float32_under_every_policy(self, rng):
        x = ops.cast(normal(rng, 6, 5), "bfloat16")
        assert numpy(layers.SkipLogit(dtype="mixed_bfloat16")([x])).dtype == np.float32


POSITIONS = ["skip", "hidden", "logit"]


class TestSkipMetaLogit:
    @pytest.mark.parametrize("linear", [False, True])
    @pytest.mark.parametrize("position", POSITIONS)
    def test_oracle(self, rng, position, linear):
        x = normal(rng, 6, 2, 5)
        layer = layers.SkipMetaLogit([4, 3], "tanh", mtn_position=position, linear=linear)
        layer(x)
        randomised(layer, rng)
        vectors = [numpy(v) for v in layer.skip.vectors]
        h = x.reshape(6, 10)
        expected = h @ vectors.pop(0) if linear else 0.0
        for hidden, norm, v in zip(layer.hidden, layer.norms, vectors, strict=True):
            kernel, bias = (numpy(w) for w in hidden.weights)
            h = np.tanh(h @ kernel + bias)
            normed = h if position == "logit" else tanh_by_hand(norm, h)
            term = normed @ v
            expected = expected + (tanh_by_hand(norm, term) if position == "logit" else term)
            h = normed if position == "hidden" else h
        np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-3, atol=1e-5)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("position", POSITIONS)
    def test_contract(self, rng, position):
        layer = layers.SkipMetaLogit([4, 3], "silu", 0.1, mtn_position=position, linear=True)
        testing.check_layer(layer, normal(rng, 6, 2, 5), (6, 1))

    def test_any_norm_will_do(self, rng):
        """And each layer has a norm of its own, also where the tower is made from a config."""
        pattern = layers.MetaTanhNormalization("scalar", rank=None)
        layer = layers.SkipMetaLogit([4, 3], "silu", batch_norm=True, norm=pattern)
        testing.check_layer(layer, normal(rng, 6, 5), (6, 1))
        again = layers.SkipMetaLogit.from_config(layer.get_config())
        assert again.norms[1].meta == "scalar" and again.norms[0] is not again.norms[1]
        assert not pattern.built and layer.norms[0].weights[0] is not layer.norms[1].weights[0]

    def test_silent_skips_leave_the_plain_tower(self, rng):
        """Without MTN and with `v_i = 0` but for the last: `MLP`, then `Dense(1)`."""
        x = normal(rng, 6, 5)
        plain = layers.MLP([4, 3], "silu")
        layer = layers.SkipMetaLogit([4, 3], "silu", norm=keras.layers.Identity())
        layer(x), plain(x)
        plain.set_weights([numpy(w) for hidden in layer.hidden for w in hidden.weights])
        silent, last = layer.skip.vectors
        silent.assign(np.zeros((4, 1)))
        expected = numpy(plain(x)) @ numpy(last)
        np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-5, atol=1e-6)

    def test_dropout_is_on_what_the_next_layer_reads(self, rng):
        x = normal(rng, 6, 5)
        for hidden_units, changes in (([8], False), ([8, 8], True)):
            layer = layers.SkipMetaLogit(hidden_units, dropout=0.5)
            found = [numpy(layer(x, training=training)) for training in (False, True)]
            assert (np.abs(found[0] - found[1]).max() > 1e-3) == changes

    @pytest.mark.parametrize("position", POSITIONS)
    def test_the_logit_is_float32_in_a_half_precision_tower(self, position):
        layer = layers.SkipMetaLogit(
            [1],
            "linear",
            mtn_position=position,
            norm=keras.layers.Identity(),
            dtype="mixed_bfloat16",
        )
        layer.build((None, 1))
        layer.hidden[0].parts[1].kernel.assign([[1.0]])
        layer.skip.vectors[0].assign([[1.001]])  # bfloat16 would round it to 1
        assert float(numpy(layer(np.ones((1, 1), "float32")))[0, 0]) == pytest.approx(1.001)

    @pytest.mark.parametrize("position", POSITIONS)
    def test_a_batch_of_one_is_a_row(self, rng, position):
        x = normal(rng, 4, 5)
        layer = layers.SkipMetaLogit([4, 3], mtn_position=position)
        layer(x)
        randomised(layer, rng)
        rows = np.concatenate([numpy(layer(x[at : at + 1], training=True)) for at in range(4)])
        np.testing.assert_allclose(numpy(layer(x)), rows, rtol=1e-5, atol=1e-6)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="mtn_position"):
            layers.SkipMetaLogit([4], mtn_position="skipped")
        for hidden_units in ([], [4, 0]):
            with pytest.raises(ValueError, match="hidden_units"):
                layers.SkipMetaLogit(hidden_units)


def similarity(x):
    """Mean cosine similarity between different rows."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return ((x @ x.T).sum() - len(x)) / (len(x) * (len(x) - 1))


class TestClaims:
    """At the start of training: what the paper shows of trained towers is not repeated here."""

    WIDTH = 128

    @pytest.fixture
    def x(self, rng):
        return normal(rng, 64, self.WIDTH)

    def plain(self, x, depth):
        """What the logit of a plain tower reads, and that logit."""
        features = layers.MLP([self.WIDTH] * depth)(x)
        return numpy(features), numpy(layers.SkipLogit()([features]))

    def sml(self, x, depth, position, monkeypatch):
        """What the logit of an SML tower reads, layer beside layer, and that logit."""
        tower, seen = layers.SkipMetaLogit([self.WIDTH] * depth, mtn_position=position), []
        terms = layers.SkipLogit.terms
        monkeypatch.setattr(
            layers.SkipLogit,
            "terms",
            lambda self, hidden: seen.append(hidden) or terms(self, hidden),
        )
        logit = numpy(tower(x))
        monkeypatch.undo()
        return np.concatenate([numpy(h) for h in seen[-1]], axis=1), logit

    def test_a_plain_tower_fades(self, x):
        _, shallow = self.plain(x, 1)
        _, logit = self.plain(x, 5)
        assert logit.var() < 0.1 * shallow.var()
        read, logit = self.plain(x, 15)
        assert logit.var() < 1e-3 * shallow.var() and similarity(read) > 0.8
        read, logit = self.plain(x, 100)
        assert logit.var() < 1e-12 * shallow.var() and similarity(read) > 0.99

    @pytest.mark.parametrize("position", POSITIONS)
    def test_with_sml_samples_stay_apart(self, x, position, monkeypatch):
        _, shallow = self.plain(x, 1)
        for depth in (5, 15):
            read, logit = self.sml(x, depth, position, monkeypatch)
            assert logit.var() > 0.1 * shallow.var()
            assert similarity(read) < 0.7

    @pytest.mark.parametrize(
        "tower, noise, learns",
        [
            ("sml", False, True),
            pytest.param("sml", True, True, marks=pytest.mark.once),
            pytest.param("mlp", True, False, marks=pytest.mark.once),
        ],
    )
    def test_a_hundred_layers_train(self, rng, tower, noise, learns):
        """With SML; noise in the gradients neither harms it nor takes its place."""
        x = normal(rng, 32, 4)
        y = (x[:, :1] > 0).astype("float32")
        parts = [layers.get_tower(tower, [4] * 100)]
        parts += [keras.layers.Dense(1)] if tower == "mlp" else []
        model = keras.Sequential([keras.Input((4,)), *parts])
        optimizer = keras.optimizers.SGD(0.1)
        if noise:
            optimizer = optimizers.GradientNoise(optimizer, eta=0.01, seed=1)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        # Eagerly, since XLA takes longer to compile 100 layers than they take to run.
        model.compile(optimizer, loss, run_eagerly=True)
        loss = model.fit(x, y, batch_size=32, epochs=3, verbose=0).history["loss"]
        assert (loss[-1] < loss[0] - 0.01) == learns

    def test_batches_of_one_train(self):
        schema = testing.example_schema()
        batch, label = testing.example_batch(schema, rows=16)
        model = zoo.get("dnn", embedding_dim=4, hidden_units=[8, 4], tower="sml").adapt(schema)
        model.compile(keras.optimizers.Adam(0.01))
        before = model.evaluate(batch, label, verbose=0, return_dict=True)["loss"]
        model.fit(batch, label, batch_size=1, epochs=4, verbose=0)
        assert model.evaluate(batch, label, verbose=0, return_dict=True)["loss"] < before - 0.01


NORMED = ("onetrans", "deres", "attnres", "longer", "hiformer", "tokenmixer_large", "unimixer")


class TestNorms:
    @pytest.mark.parametrize("name", [*NORMED, "rankmixer"])
    def test_every_transformer_takes_another_norm(self, name):
        config = dict(exchange.SMALL[name])
        if name == "rankmixer":
            config["residual"] = layers.residuals.Identity()
        schema = testing.example_schema()
        plain = zoo.get(name, **config).adapt(schema)
        model = zoo.get(name, **config, norm=layers.SeeDNorm()).adapt(schema)
        norms = [layer for layer in model._flatten_layers() if type(layer) is layers.SeeDNorm]
        depth = config["num_layers"]
        assert len(norms) > depth and all(norm.built for norm in norms)
        more = 2 * sum(int(norm.gamma.shape[0]) for norm in norms)  # α and β beside γ
        assert model.count_params() == plain.count_params() + more
        again = type(model).from_config(model.get_config())
        assert again.count_params() == model.count_params()

    @pytest.mark.once
    def test_a_model_with_another_norm_keeps_its_promises(self):
        testing.check_model("onetrans", **exchange.SMALL["onetrans"], norm=layers.SeeDNorm(2))

    def test_a_pattern_is_copied(self):
        pattern = layers.SeeDNorm(2)
        made = [layers.get_norm(pattern, "mixed_bfloat16") for _ in range(2)]
        assert made[0] is not made[1] and pattern not in made
        assert {(norm.num_heads, norm.dtype_policy.name) for norm in made} == {
            (2, "mixed_bfloat16")
        }
        assert isinstance(layers.get_norm(), keras.layers.RMSNormalization)

    def test_post_norm_has_its_own(self):
        with pytest.raises(ValueError, match="PostNorm.*Received: norm="):
            zoo.get("rankmixer", norm=layers.SeeDNorm())


class TestTowers:
    def test_the_group_is_those_that_take_a_tower(self):
        taking = [name for name in zoo.names() if "tower" in zoo.info(name)["arguments"]]
        assert set(zoo.names("sml")) == set(taking)

    @pytest.mark.parametrize("name", zoo.names("sml"))
    def test_every_model_takes_sml(self, name):
        """Built from shapes alone; one of them is trained and saved below."""
        config = exchange.SMALL[name] | {"dropout": 0.1}
        model = zoo.get(name, **config, tower="sml").adapt(testing.example_schema())
        assert isinstance(model.deep, layers.SkipMetaLogit) and model.deep.dropout == 0.1
        assert list(model.deep.hidden_units) == list(config["hidden_units"])
        assert model.deep.built
        again = type(model).from_config(model.get_config())
        assert again.get_config() == model.get_config()
        assert isinstance(again.deep, layers.SkipMetaLogit)

    def test_models_keep_their_promises_with_sml(self):
        testing.check_model("dnn", **exchange.SMALL["dnn"], tower="sml")

    def test_a_tower_alone_brings_a_linear_term(self):
        assert zoo.get("dnn", tower="sml").deep.linear
        assert not zoo.get("dcnv2", tower="sml").deep.linear

    def test_names(self):
        tower = layers.SkipMetaLogit([400, 400, 400])
        assert zoo.get("dcnv2", tower=tower).tower is tower
        made = layers.get_tower(tower, [4])
        assert made is not tower and made.hidden_units == tower.hidden_units
        for name in (None, "mlp"):
            made = layers.get_tower(name, [4], "silu", 0.3, alone=True)
            assert isinstance(made, layers.MLP) and (made.activation, made.dropout) == ("silu", 0.3)
        for wrong, rule in (
            ("slm", "tower.*Known: mlp, sml"),
            (3, "`tower` must be a layer.*tower=3"),
            (layers.MLP, "forget the brackets"),
        ):
            with pytest.raises(ValueError, match=rule):
                zoo.get("dcnv2", tower=wrong)

    def test_recipes_give_their_sizes(self):
        recipe = recipes.get("bars", data="criteo_x4")
        tower = recipe.get("dnn", tower="sml").deep
        assert isinstance(tower, layers.SkipMetaLogit) and tower.linear
        assert list(tower.hidden_units) == [1000] * 5 and tower.dropout == 0.2
        assert recipe.get("dcnv2", tower="sml", dropout=0.4).deep.dropout == 0.4
        recipe = recipes.get("bars", data="frappe_x1")
        assert recipe.get("dcnv2", tower="mlp").deep.batch_norm
        assert not recipe.get("dcnv2", tower="sml").deep.batch_norm
        own = layers.MLP([7])
        assert recipe.get("dcnv2", tower=own).tower is own
        assert list(recipe.get("hstu").deep.hidden_units) == [512]  # a head keeps its own

    def test_arguments_are_those_of_the_mlp(self):
        """A tower by name gets the first three by position."""
        expected = list(arguments(layers.MLP))
        assert list(arguments(layers.SkipMetaLogit))[: len(expected)] == expected


class TestSeeDNorm:
    @pytest.mark.parametrize("num_heads", [1, 2])
    def test_oracle(self, rng, num_heads):
        x = normal(rng, 6, 3, 8)
        layer = layers.SeeDNorm(num_heads)
        layer(x)
        w = randomised(layer, rng)
        size = 8 // num_heads
        expected = np.empty_like(x)
        for part in (slice(at, at + size) for at in range(0, 8, size)):
            scalar = np.tanh(x[..., part] @ w["beta"][part])[..., None]
            expected[..., part] = (scalar * w["alpha"][part] + w["gamma"][part]) * x[..., part]
        expected /= np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)
        np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)

    def test_starts_as_rms_norm(self, rng):
        x = normal(rng, 6, 3, 8)
        expected = numpy(keras.layers.RMSNormalization()(x))
        np.testing.assert_allclose(numpy(layers.SeeDNorm()(x)), expected, rtol=1e-5, atol=1e-6)

    def test_the_length_survives_unless_beta_is_zero(self, rng):
        x, layer = normal(rng, 6, 8), layers.SeeDNorm()
        np.testing.assert_allclose(numpy(layer(3 * x)), numpy(layer(x)), rtol=1e-4, atol=1e-5)
        layer.beta.assign(normal(rng, 8))
        assert np.abs(numpy(layer(3 * x)) - numpy(layer(x))).max() > 0.1

    def test_all_weights_move_after_one_step(self, rng):
        """At `β = 0` there is no gradient for `α` yet."""
        x, layer = normal(rng, 6, 8), layers.SeeDNorm()
        layer(x)

        def missing():
            target = np.arange(8, dtype="float32")
            return testing.without_gradient(
                lambda: ops.sum(ops.square(ops.subtract(layer(x), target))), layer.weights
            )

        assert [path.split("/")[-1] for path in missing()] == ["alpha"]
        layer.beta.assign(0.01 * normal(rng, 8))
        assert not missing()

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("num_heads", [1, 4])
    def test_contract(self, rng, num_heads):
        testing.check_layer(layers.SeeDNorm(num_heads), normal(rng, 6, 3, 8), (6, 3, 8))

    def test_bad_input(self, rng):
        with pytest.raises(ValueError, match=r"one of \[1, 2, 4, 8\]"):
            layers.SeeDNorm(3)(normal(rng, 6, 8))

    def test_is_selectable_in_a_stack(self, rng):
        """One pattern, a norm of its own in each unit, and a config that brings it back."""
        x, pattern = normal(rng, 6, 4, 8), layers.SeeDNorm(2)
        units = [layers.PreNorm(layers.FeedForward(2), norm=pattern) for _ in range(2)]
        testing.check_layer(layers.Stack(units), x, (6, 4, 8))
        assert not pattern.built and units[0].norm.beta is not units[1].norm.beta
        again = layers.PreNorm.from_config(units[0].get_config())
        assert isinstance(again.norm, layers.SeeDNorm) and again.norm.num_heads == 2
        plain = layers.PreNorm.from_config(layers.PreNorm(layers.FeedForward(2)).get_config())
        assert isinstance(plain.norm, keras.layers.RMSNormalization)
