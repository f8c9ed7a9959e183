"""TabM: its members, the mean of their losses, and models with it as their tower."""

import exchange
import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import layers, losses, testing, zoo

SMALL = {"embedding_dim": 4, "hidden_units": [8, 4]}


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


class TestTabM:
    @pytest.mark.parametrize("shape", [(5, 6), (5, 2, 3)])
    def test_a_member_is_a_plain_tower_with_its_adapters_folded_in(self, rng, shape):
        x = rng.normal(size=shape).astype("float32")
        tower = layers.TabM([4, 3], "tanh", members=5)
        tower(x)
        for weight in tower.trainable_weights:
            weight.assign(rng.normal(size=weight.shape))
        found = numpy(tower(x))
        assert found.shape == (5, 5, 3)
        for member in range(5):
            plain = layers.MLP([4, 3], "tanh")
            plain(x)
            weights = []
            for inward, kernel, outward, bias in tower.layers:
                r, w, s, b = (numpy(each) for each in (inward, kernel, outward, bias))
                weights += [r[member][:, None] * w * s[member], b[member]]
            plain.set_weights(weights)
            np.testing.assert_allclose(found[:, member], numpy(plain(x)), rtol=1e-4, atol=1e-5)

    def test_how_it_starts(self):
        tower = layers.TabM([8, 4], members=64)
        tower.build((None, 100))
        first, second = tower.layers
        signs = numpy(first[0])
        assert set(np.unique(signs)) == {-1.0, 1.0} and abs(signs.mean()) < 0.1
        assert len({tuple(row) for row in signs}) == 64
        for ones in (first[2], second[0], second[2]):
            assert (numpy(ones) == 1).all()
        assert np.abs(numpy(first[1])).max() <= 0.1  # 1/√100

    def test_bad_input(self):
        with pytest.raises(ValueError, match="members"):
            layers.TabM([4], members=0)


def click_of(shapes, rng):
    parts = [rng.normal(size=shape).astype("float32") for shape in shapes]
    click = layers.Click()
    click(parts)
    for weight in click.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return click, parts


class TestClick:
    def test_oracle(self, rng):
        click, (flat, logit, members) = click_of([(6, 5), (6, 1), (6, 3, 4)], rng)
        z = flat @ numpy(click.projections[0].kernel) + logit + numpy(click.bias)
        z = z + np.einsum("bmk,mk->bm", members, numpy(click.vectors[2]))
        expected = 1 / (1 + np.exp(-z))
        found = click([flat, logit, members])
        np.testing.assert_allclose(numpy(found)[:, 0], expected.mean(1), rtol=1e-4)
        assert click.members is None
        click([flat, logit, members], training=True)
        np.testing.assert_allclose(numpy(click.members), expected, rtol=1e-4)
        click([flat, logit, members])
        assert click.members is None  # those of an earlier call are not this call's

    def test_without_an_ensemble_nothing_is_remembered(self, rng):
        click, parts = click_of([(6, 5), (6, 1)], rng)
        click(parts, training=True)
        assert click.members is None
        assert [w.path.split("/")[-1] for w in click.weights] == ["bias", "kernel"]

    def test_ensembles_of_one_size(self, rng):
        with pytest.raises(ValueError, match="same number of members"):
            click_of([(6, 3, 4), (6, 2, 4)], rng)


def adapted(name="dcnv2", **config):
    schema = testing.example_schema()
    batch, label = testing.example_batch(schema)
    config = {**exchange.SMALL[name], "dropout": 0.0, **config}
    model = zoo.get(name, **config, tower="tabm").adapt(schema)
    return model, batch, label


class TestLoss:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("loss", [None, "binary_crossentropy"])
    def test_it_is_the_mean_of_the_members_losses(self, rng, weighted, loss):
        model, batch, label = adapted()
        model.compile("sgd", loss)
        tensors = {key: ops.convert_to_tensor(array) for key, array in batch.items()}
        # Members far apart, so that the loss of their mean is another.
        model.click.vectors[1].assign(10 * rng.normal(size=model.click.vectors[1].shape))
        weights = rng.uniform(size=(len(label), 1)).astype("float32") if weighted else None
        p = model(tensors, training=True)
        members = numpy(model.click.members).astype("float64")
        found = model.compute_loss(y=label, y_pred=p, sample_weight=weights)
        assert model.click.members is None
        each = -np.where(label == 1, np.log(members), np.log1p(-members))
        expected = (each * (1 if weights is None else weights)).mean()
        assert float(numpy(found)) == pytest.approx(expected, rel=1e-3)
        of_mean = losses.LogLoss()(label, p, sample_weight=weights)
        assert abs(float(numpy(of_mean)) - expected) > 1e-3

    def test_the_gradient_of_a_member_is_its_own(self, rng):
        """`(p_m - y) h_m / M` for its vector: no other member takes part."""
        click, (features,) = click_of([(6, 3, 4)], rng)
        label = (rng.uniform(size=(6, 1)) < 0.5).astype("float32")

        def loss():
            click(features, training=True)
            return losses.LogLoss()(label, click.members)

        found = testing.gradients(loss, [click.vectors[0]])[0]
        p = 1 / (
            1
            + np.exp(
                -np.einsum("bmk,mk->bm", features, numpy(click.vectors[0])) - numpy(click.bias)
            )
        )
        expected = np.einsum("bm,bmk->mk", p - label, features) / (6 * 3)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
        click.members = None

    def test_evaluation_has_the_loss_of_the_mean(self):
        model, batch, label = adapted()
        model.compile()
        p = model.predict(batch, verbose=0)
        expected = -np.where(label == 1, np.log(p), np.log1p(-p)).mean()
        found = model.evaluate(batch, label, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(expected, rel=1e-4)

    def test_fit_trains_by_it_and_leaves_nothing_behind(self, rng):
        model, batch, label = adapted()
        model.compile(keras.optimizers.SGD(0.0))
        model.click.vectors[1].assign(10 * rng.normal(size=model.click.vectors[1].shape))
        history = model.fit(batch, label, batch_size=len(label), epochs=2, verbose=0).history
        assert model.click.members is None
        of_mean = model.evaluate(batch, label, verbose=0, return_dict=True)["loss"]
        assert history["loss"][0] > of_mean + 1e-3  # Jensen: the mean is better than its members


class TestModels:
    def test_models_keep_their_promises_with_tabm(self):
        testing.check_model("dcnv2", **exchange.SMALL["dcnv2"], tower="tabm")

    @pytest.mark.parametrize("name", zoo.names("sml"))
    def test_every_model_that_takes_a_tower_takes_tabm(self, name):
        """Also those with auxiliary losses: one training step, and a config that brings it back."""
        model, batch, label = adapted(name)
        assert isinstance(model.deep, layers.TabM) and model.click.vectors[-1] is not None
        tensors = {key: ops.convert_to_tensor(array) for key, array in batch.items()}
        model.call(tensors, training=True)  # as a step on JAX does, without Keras's context
        assert tuple(model.click.members.shape) == (len(label), 16)
        model.call(tensors, training=False)
        assert model.click.members is None
        if name in ("dien", "sim_soft", "dnn"):
            model.compile(jit_compile=False)
            loss = model.train_on_batch(batch, label, return_dict=True)["loss"]
            assert np.isfinite(loss) and model.click.members is None
        again = type(model).from_config(model.get_config())
        assert again.count_params() == model.count_params()
