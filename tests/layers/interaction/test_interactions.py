"""Interactions of fields: each layer against NumPy and an invariant, and the models' claims."""

import itertools
import pathlib
import tomllib

import exchange
import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import Categorical, Numeric, Schema, Sequence, layers, recipes, testing, zoo

ROOT = pathlib.Path(__file__).parents[3]
B, F, D = 6, 4, 3
PAIRS = list(itertools.combinations(range(F), 2))


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


@pytest.fixture
def x(rng):
    return normal(rng, B, F, D)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def randomised(layer, rng, scale=0.5):
    """Gives a built layer weights that are nowhere zero, and returns them by name."""
    for weight in layer.trainable_weights:
        weight.assign(scale * normal(rng, *weight.shape))
    return {w.path.split("/")[-1]: np.asarray(numpy(w), "float64") for w in layer.weights}


def close(found, expected):
    np.testing.assert_allclose(numpy(found), expected, rtol=1e-4, atol=1e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    x = np.exp(x - x.max(axis, keepdims=True))
    return x / x.sum(axis, keepdims=True)


def relu(x):
    return np.maximum(x, 0)


def layer_norm(x):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)


def fm(x):
    return np.stack([sum(row[i] @ row[j] for i, j in PAIRS) for row in x])[:, None]


class TestFieldAware:
    SCHEMA = Schema(
        [Categorical("a", 5), Categorical("b", 4), Numeric("n"), Sequence("s", of="a", length=2)]
    )
    BATCH = {
        "ids": np.array([[2, 3], [4, 0]], "int32"),
        "values": np.array([[0.5], [2.0]], "float32"),
        "s": np.array([[0, 3], [2, 4]], "int32"),
    }

    def test_embedding_oracle(self, rng):
        layer = layers.FieldAwareEmbedding(D, schema=self.SCHEMA)
        assert tuple(layer(self.BATCH).shape) == (2, 4, 3, D)
        w = randomised(layer, rng)
        assert w["table"].shape == (5 + 4, 3 * D) and w["vectors"].shape == (1, 3 * D)
        found = numpy(layer(self.BATCH))
        np.testing.assert_allclose(found[0, 0].ravel(), w["table"][2], rtol=1e-5)
        np.testing.assert_allclose(found[1, 1], 0)
        np.testing.assert_allclose(found[1, 2].ravel(), 2 * w["vectors"][0], rtol=1e-5)
        np.testing.assert_allclose(found[1, 3].ravel(), w["table"][[2, 4]].mean(0), rtol=1e-5)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_embedding_contract(self):
        testing.check_layer(layers.FieldAwareEmbedding(D, schema=self.SCHEMA), self.BATCH)

    def test_oracle(self, rng):
        x = normal(rng, B, F, F - 1, D)

        def vector(row, i, j):
            return row[i, [k for k in range(F) if k != i].index(j)]

        expected = [sum(vector(row, i, j) @ vector(row, j, i) for i, j in PAIRS) for row in x]
        close(layers.FieldAwareFactorizationMachine()(x), np.array(expected)[:, None])

    def test_one_vector_for_all_partners_is_an_fm(self, x):
        repeated = np.repeat(x[:, :, None], F - 1, axis=2)
        close(layers.FieldAwareFactorizationMachine()(repeated), fm(x))

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        layer = layers.FieldAwareFactorizationMachine()
        testing.check_layer(layer, normal(rng, B, F, F - 1, D), (B, 1))

    def test_a_single_field_has_no_partner(self):
        layer = layers.FieldAwareEmbedding(D, schema=Schema([Categorical("a", 5)]))
        with pytest.raises(ValueError, match="at least 2 fields"):
            layer({"ids": self.BATCH["ids"][:, :1]})


class TestDotInteraction:
    def test_oracle(self, x):
        expected = [[row[i] @ row[j] for i, j in PAIRS] for row in x]
        close(layers.DotInteraction()(x), expected)

    def test_sums_to_an_fm(self, x):
        close(
            ops.sum(layers.DotInteraction()(x), axis=1),
            numpy(layers.FactorizationMachine()(x))[:, 0],
        )

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.DotInteraction(), x, (B, 6))
        with pytest.raises(ValueError, match="at least 2 fields.*Received: 1"):
            layers.DotInteraction()(x[:, :1])


class TestFieldWeighted:
    def test_oracle(self, x, rng):
        layer = layers.FieldWeightedFactorizationMachine()
        layer(x)
        r = randomised(layer, rng)["strengths"][:, 0]
        expected = [sum(r[p] * row[i] @ row[j] for p, (i, j) in enumerate(PAIRS)) for row in x]
        close(layer(x), np.array(expected)[:, None])

    def test_equal_strengths_are_an_fm(self, x):
        layer = layers.FieldWeightedFactorizationMachine()
        layer(x)
        layer.strengths.assign(np.ones((6, 1)))
        close(layer(x), fm(x))

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.FieldWeightedFactorizationMachine(), x, (B, 1))


class TestFieldMatrixed:
    @pytest.mark.parametrize("diagonal", [False, True])
    def test_oracle(self, x, rng, diagonal):
        layer = layers.FieldMatrixedFactorizationMachine(diagonal)
        layer(x)
        m = randomised(layer, rng)["kernel"]
        m = [np.diag(kernel) if diagonal else kernel for kernel in m]
        expected = [sum(row[i] @ m[p] @ row[j] for p, (i, j) in enumerate(PAIRS)) for row in x]
        close(layer(x), np.array(expected)[:, None])

    @pytest.mark.parametrize("diagonal", [False, True])
    def test_identity_matrices_are_an_fm(self, x, diagonal):
        layer = layers.FieldMatrixedFactorizationMachine(diagonal)
        layer(x)
        layer.kernel.assign(
            np.broadcast_to(np.ones(D) if diagonal else np.eye(D), layer.kernel.shape)
        )
        close(layer(x), fm(x))

    def test_matrices_start_at_the_scale_of_their_own_shape(self):
        layer = layers.FieldMatrixedFactorizationMachine()
        layer.build((None, 12, 24))
        assert numpy(layer.kernel).std() == pytest.approx(24**-0.5, rel=0.05)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("diagonal", [False, True])
    def test_contract(self, x, diagonal):
        testing.check_layer(layers.FieldMatrixedFactorizationMachine(diagonal), x, (B, 1))


class TestBiInteraction:
    def test_oracle(self, x):
        close(layers.BiInteraction()(x), sum(x[:, i] * x[:, j] for i, j in PAIRS))

    def test_sums_to_an_fm(self, x):
        close(ops.sum(layers.BiInteraction()(x), axis=1), fm(x)[:, 0])

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.BiInteraction(), x, (B, D))


class TestAttentional:
    def test_oracle(self, x, rng):
        layer = layers.AttentionalFactorizationMachine(5)
        layer(x)
        randomised(layer, rng)
        w, b = layer.attend.get_weights()
        (h,) = layer.score.get_weights()
        products = np.stack([x[:, i] * x[:, j] for i, j in PAIRS], axis=1)
        weights = softmax(relu(products @ w + b) @ h, axis=1)
        close(layer(x), (weights * products).sum(1))

    def test_without_scores_it_is_the_mean_of_the_products(self, x):
        layer = layers.AttentionalFactorizationMachine(5)
        layer(x)
        layer.score.kernel.assign(np.zeros((5, 1)))
        close(layer(x), numpy(layers.BiInteraction()(x)) / len(PAIRS))

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.AttentionalFactorizationMachine(5, 0.1, 0.1), x, (B, D))
        with pytest.raises(ValueError, match="attention_dim"):
            layers.AttentionalFactorizationMachine(0)


class TestCrossVector:
    def test_oracle(self, rng):
        x0 = normal(rng, B, 5)
        layer = layers.CrossVector(2)
        layer(x0)
        w = randomised(layer, rng)
        x = x0
        for at in range(2):
            x = x0 * (x @ w[f"kernel_{at}"]) + w[f"bias_{at}"] + x
        close(layer(x0), x)

    def test_without_biases_the_output_is_a_multiple_of_the_input(self, rng):
        x, layer = normal(rng, B, 5), layers.CrossVector(3)
        ratio = numpy(layer(x)) / x  # biases start at zero
        np.testing.assert_allclose(ratio, np.repeat(ratio[:, :1], 5, axis=1), rtol=1e-3)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.CrossVector(2), x, (B, F * D))


class TestGatedCross:
    def test_oracle(self, rng):
        c0 = normal(rng, B, 5)
        layer = layers.GatedCross(2)
        layer(c0)
        w = randomised(layer, rng)
        c = c0
        for at in range(2):
            gate = sigmoid(c @ w[f"gate_{at}"])
            c = c0 * (c @ w[f"kernel_{at}"] + w[f"bias_{at}"]) * gate + c
        close(layer(c0), c)

    def test_an_open_gate_is_dcnv2(self, rng):
        """Gates of one half, with kernels twice as large, are the cross network of DCN-V2."""
        x = normal(rng, B, 5)
        gated, cross = layers.GatedCross(2), layers.Cross(2)
        gated(x), cross(x)
        for at, (kernel, bias, gate) in enumerate(gated.parts):
            kernel.assign(2 * cross.kernels[at])
            bias.assign(2 * cross.biases[at])
            gate.assign(np.zeros((5, 5)))
        close(gated(x), numpy(cross(x)))

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        layer = layers.GatedCross(2)
        testing.check_layer(layer, x, (B, F * D))
        layer = layers.GatedCross(1)
        layer.build((None, 500))
        bias = numpy(layer.parts[0][1])
        assert 0 <= bias.min() < 0.1 and 0.9 < bias.max() < 1


class TestCompressedInteraction:
    def test_oracle(self, x, rng):
        layer = layers.CompressedInteraction([5, 2])
        layer(x)
        w = randomised(layer, rng)
        previous, expected = x, []
        for at, units in enumerate([5, 2]):
            kernel = w[f"kernel_{at}"].reshape(previous.shape[1], F, units)
            previous = sum(
                (previous[:, i] * x[:, j])[:, None] * kernel[i, j][:, None]
                for i, j in np.ndindex(*kernel.shape[:2])
            )
            previous = previous + w[f"bias_{at}"][:, None]
            expected.append(previous.sum(-1))
        close(layer(x), np.concatenate(expected, axis=1))

    def test_one_map_of_ones_is_the_square_of_the_sum(self, x):
        layer = layers.CompressedInteraction([1])
        layer(x)
        layer.maps[0][0].assign(np.ones((F * F, 1)))
        close(layer(x), np.square(x.sum(1)).sum(-1, keepdims=True))

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.CompressedInteraction([5, 2]), x, (B, 7))
        for hidden_units in ([], [4, 0]):
            with pytest.raises(ValueError, match="hidden_units"):
                layers.CompressedInteraction(hidden_units)


class TestSqueezeExcitation:
    def test_oracle(self, x, rng):
        layer = layers.SqueezeExcitation(2)
        layer(x)
        randomised(layer, rng)
        (w1,), (w2,) = layer.squeeze.get_weights(), layer.excite.get_weights()
        assert w1.shape == (F, 2)
        importance = relu(relu(x.mean(-1) @ w1) @ w2)
        assert importance.any()
        close(layer(x), x * importance[..., None])

    def test_a_field_keeps_its_direction(self, x):
        found = numpy(layers.SqueezeExcitation(0.3)(x))
        np.testing.assert_allclose(np.cross(found, x), 0, atol=1e-5)  # D is 3

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        x = np.abs(normal(rng, B, 8, D))
        layer = layers.SqueezeExcitation(2)
        testing.check_layer(layer, x, (B, 8, D))
        layer = layers.SqueezeExcitation(9)
        layer.build((None, 5, D))
        assert layer.squeeze.units == 1
        with pytest.raises(ValueError, match="reduction_ratio"):
            layers.SqueezeExcitation(0)


class TestBilinearInteraction:
    @pytest.mark.parametrize(("kernel", "count"), [("all", 1), ("field", 3), ("pair", 6)])
    def test_oracle(self, x, rng, kernel, count):
        layer = layers.BilinearInteraction(kernel)
        layer(x)
        w = randomised(layer, rng)["kernel"]
        assert w.shape == (count, D, D)
        which = {"all": lambda p, i: 0, "field": lambda p, i: i, "pair": lambda p, i: p}[kernel]
        expected = [(x[:, i] @ w[which(p, i)]) * x[:, j] for p, (i, j) in enumerate(PAIRS)]
        close(layer(x), np.stack(expected, axis=1))

    @pytest.mark.parametrize("kernel", ["all", "field", "pair"])
    def test_identity_matrices_sum_to_an_fm(self, x, kernel):
        layer = layers.BilinearInteraction(kernel)
        layer(x)
        layer.maps.assign(np.broadcast_to(np.eye(D), layer.maps.shape))
        close(ops.sum(layer(x), axis=(1, 2)), fm(x)[:, 0])

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("kernel", ["all", "field", "pair"])
    def test_contract(self, x, kernel):
        testing.check_layer(layers.BilinearInteraction(kernel), x, (B, 6, D))

    def test_bad_input(self):
        with pytest.raises(ValueError, match="'all', 'field', 'pair'"):
            layers.BilinearInteraction("each")


class TestLogarithmicTransform:
    def test_oracle(self, x, rng):
        """In training: both norms use the moments of the batch, per field and per neuron."""
        layer = layers.LogarithmicTransform(5)
        layer(x)
        orders = randomised(layer, rng)["orders"]
        first, second = layer.norm_logarithms, layer.norm_products

        def batch_norm(x, norm):
            gain, shift = (numpy(w)[:, None] for w in (norm.gamma, norm.beta))
            x = x - x.mean((0, 2), keepdims=True)
            return gain * x / np.sqrt((x**2).mean((0, 2), keepdims=True) + 1e-5) + shift

        logarithms = batch_norm(np.log(np.maximum(np.abs(x), 1e-5)), first)
        expected = batch_norm(np.exp(np.einsum("bfd,fn->bnd", logarithms, orders)), second)
        close(layer(x, training=True), expected)

    def test_a_neuron_is_a_product_of_powers(self, x):
        """With norms that do nothing: `|e_0|² · |e_2|^0.5`."""
        layer = layers.LogarithmicTransform(1)
        layer(x)
        for norm in (layer.norm_logarithms, layer.norm_products):
            norm.epsilon = 0.0
        layer.orders.assign([[2.0], [0.0], [0.5], [0.0]])
        close(layer(x)[:, 0], x[:, 0] ** 2 * np.sqrt(np.abs(x[:, 2])))

    def test_zero_and_tiny_embeddings_stay_finite(self):
        found = numpy(layers.LogarithmicTransform(3)(np.zeros((2, F, D), "float32")))
        assert np.isfinite(found).all()

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.LogarithmicTransform(5), x, (B, 5, D))


class TestMaskBlock:
    def test_oracle(self, x, rng):
        hidden = normal(rng, B, 5)
        layer = layers.MaskBlock(7, 1.5)
        layer([x, hidden])
        randomised(layer, rng)
        (w1, b1), (w2, b2) = layer.aggregate.get_weights(), layer.project.get_weights()
        assert w1.shape == (F * D, 7) and w2.shape == (7, 5)
        mask = relu(x.reshape(B, -1) @ w1 + b1) @ w2 + b2
        gain, shift = layer.norm.get_weights()
        expected = relu(layer_norm(mask * hidden @ layer.hidden.get_weights()[0]) * gain + shift)
        close(layer([x, hidden]), expected)

    def test_a_mask_of_ones_is_a_normed_hidden_layer(self, x):
        layer = layers.MaskBlock(7)
        layer([x, x])
        layer.project.set_weights([np.zeros((2 * F * D, F * D)), np.ones(F * D)])
        expected = relu(layer_norm(x.reshape(B, -1) @ numpy(layer.hidden.kernel)))
        close(layer([x, x]), expected)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x, rng):
        testing.check_layer(layers.MaskBlock(7, 0.5, 0.1), [x, normal(rng, B, 5)], (B, 7))
        with pytest.raises(ValueError, match="reduction_ratio"):
            layers.MaskBlock(7, 0)


class TestBilinearFusion:
    def test_oracle(self, rng):
        x, y = normal(rng, B, 6), normal(rng, B, 4)
        layer = layers.BilinearFusion(2)
        layer([x, y])
        w = randomised(layer, rng)["kernel"]
        expected = [
            sum(a[3 * h : 3 * h + 3] @ w[h] @ b[2 * h : 2 * h + 2] for h in range(2))
            for a, b in zip(x, y, strict=True)
        ]
        close(layer([x, y]), np.array(expected)[:, None])

    def test_as_many_heads_as_numbers_are_a_weighted_inner_product(self, rng):
        x, y = normal(rng, B, 4), normal(rng, B, 4)
        layer = layers.BilinearFusion(4)
        layer([x, y])
        layer.kernel.assign(np.ones((4, 1, 1)))
        close(layer([x, y]), (x * y).sum(1, keepdims=True))

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, rng):
        x, y = normal(rng, B, 6), normal(rng, B, 4)
        testing.check_layer(layers.BilinearFusion(2), [x, y], (B, 1))
        with pytest.raises(ValueError, match=r"second stream's width 4: one of \[1, 2, 4\]"):
            layers.BilinearFusion(3)([x, y])


class TestFeatureSelection:
    def test_oracle(self, x, rng):
        context = normal(rng, B, 2)
        layer = layers.FeatureSelection([5])
        layer([x, context])
        randomised(layer, rng)
        w1, b1 = layer.gate.get_weights()
        w2, b2 = layer.project.get_weights()
        gate = 2 * sigmoid(relu(context @ w1 + b1) @ w2 + b2)
        close(layer([x, context]), x * gate.reshape(B, F, D))

    def test_without_a_context_it_is_one_weight_per_dimension(self, x, rng):
        layer = layers.FeatureSelection([5])
        close(layer(x), x)  # at the start
        logits = randomised(layer, rng)["logits"]
        close(layer(x), x * 2 * sigmoid(logits))

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x, rng):
        testing.check_layer(layers.FeatureSelection([5]), x, x.shape)
        testing.check_layer(layers.FeatureSelection([5]), [x, normal(rng, B, 2)], x.shape)


class TestFieldGate:
    def test_oracle(self, x, rng):
        layer = layers.FieldGate()
        layer(x)
        randomised(layer, rng)
        w, b = layer.mix.get_weights()
        gate = np.einsum("bfd,fg->bgd", x, w) + b[:, None]
        close(layer(x), np.concatenate([x, x * gate], axis=1))

    def test_it_starts_as_a_copy(self, x):
        close(layers.FieldGate()(x), np.concatenate([x, x], axis=1))

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.FieldGate(), x, (B, 2 * F, D))


class TestFactorizedInteraction:
    def test_oracle(self, rng):
        x = normal(rng, B, 5)
        layer = layers.FactorizedInteraction(4)
        layer(x)
        randomised(layer, rng)
        w, b = layer.dense.get_weights()
        h2, h1 = np.split(x @ w + b, 2, axis=1)
        close(layer(x), np.concatenate([h2, h1 * h2], axis=1))

    def test_without_factors_it_is_half_a_dense_layer(self, rng):
        x = normal(rng, B, 5)
        layer = layers.FactorizedInteraction(4)
        layer(x)
        w, _ = layer.dense.get_weights()
        layer.dense.set_weights([w * [1, 1, 0, 0], np.array([0, 0, 1, 1])])
        close(layer(x), np.tile(x @ w[:, :2], 2))

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x, rng):
        testing.check_layer(layers.FactorizedInteraction(4), normal(rng, B, 5), (B, 4))
        block = layers.FactorizedInteractionBlock([4], "silu", dropout=0.1)
        kinds = [type(part).__name__ for part in block.parts[1:5]]
        assert kinds == ["FactorizedInteraction", "BatchNormalization", "Activation", "Dropout"]
        testing.check_layer(block, x, (B, 4))
        with pytest.raises(ValueError, match="`units` must be even. Received: units=5"):
            layers.FactorizedInteractionBlock([6, 5])
        with pytest.raises(ValueError, match="hidden_units"):
            layers.FactorizedInteractionBlock([])


class TestFieldNormalization:
    def test_oracle(self, x, rng):
        layer = layers.FieldNormalization()
        close(layer(x), layer_norm(x))
        w = randomised(layer, rng)
        close(layer(x), w["gain"] * layer_norm(x) + w["shift"])

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.FieldNormalization(), x, x.shape)


class TestEulerTransform:
    def test_oracle(self, x, rng):
        layer = layers.EulerTransform()
        real, imaginary = layer(x)
        np.testing.assert_allclose(numpy(real) ** 2 + numpy(imaginary) ** 2, 1, rtol=1e-5)
        length = randomised(layer, rng)["length"]
        for found, expected in zip(layer(x), (np.cos(x), np.sin(x)), strict=True):
            close(found, length * expected)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.EulerTransform(), x)


class TestEulerInteraction:
    @pytest.mark.parametrize("layer_norm_", [False, True])
    def test_oracle(self, x, rng, layer_norm_):
        """In complex numbers: the explicit part is a product of powers."""
        length = rng.uniform(0.5, 2, x.shape).astype("float32")
        inputs = [length * np.cos(x), length * np.sin(x)]
        layer = layers.EulerInteraction(2, layer_norm=layer_norm_)
        layer(inputs)
        w = randomised(layer, rng)
        z = (inputs[0] + 1j * inputs[1]).astype("complex128")
        powers = z[..., None] ** w["powers"][:, None]  # (B, F, D, n)
        z = np.moveaxis(powers.prod(1), -1, 1) * np.exp(w["bias_magnitude"] + 1j * w["bias_angle"])
        kernel, bias = layer.implicit.get_weights()
        for part, norm, flat, found in zip(
            (z.real, z.imag), [*layer.norms, None, None], inputs, layer(inputs), strict=False
        ):
            expected = part + relu(flat.reshape(B, -1) @ kernel + bias).reshape(B, 2, D)
            if norm is not None:
                expected = layer_norm(expected) * numpy(norm.gamma) + numpy(norm.beta)
            close(found, expected)

    def test_identity_powers_keep_the_fields(self, x):
        inputs = [np.cos(x), np.sin(x)]
        layer = layers.EulerInteraction(F)
        layer(inputs)
        np.testing.assert_array_equal(numpy(layer.powers), np.eye(F))
        for weight in (*layer.biases, *layer.implicit.weights):
            weight.assign(np.zeros(weight.shape))
        for found, expected in zip(layer(inputs), inputs, strict=True):
            close(found, expected)

    def test_other_powers_start_as_one_field_each(self):
        layer = layers.EulerInteraction(50)
        layer.build([(None, F, D)] * 2)
        powers = numpy(layer.powers)
        np.testing.assert_allclose(powers.sum(0), 1, rtol=1e-5)
        assert np.median(powers.max(0)) > 0.99

    @pytest.mark.once  # on every backend: `test_keras_suite`
    def test_contract(self, x):
        testing.check_layer(layers.EulerInteraction(2, 0.1, True), [np.cos(x), np.sin(x)])
        with pytest.raises(ValueError, match="num_vectors"):
            layers.EulerInteraction(0)


class TestMaskedCross:
    @pytest.mark.parametrize("kind", [layers.ExponentialCross, layers.LinearCross])
    def test_oracle(self, rng, kind):
        x0 = normal(rng, B, 2, 6)  # two heads
        layer = kind(2)
        layer(x0)
        w = randomised(layer, rng)
        x = x0
        for at, norm in enumerate(layer.norms):
            half = x @ w[f"kernel_{at}"]
            mask = relu(layer_norm(half) * numpy(norm.gamma) + numpy(norm.beta))
            factor = np.concatenate([half, half * mask], axis=-1) + w[f"bias_{at}"]
            x = (x if kind is layers.ExponentialCross else x0) * factor + x
        np.testing.assert_allclose(numpy(layer(x0)), x, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize(
        ("kind", "degree"), [(layers.ExponentialCross, 8), (layers.LinearCross, 4)]
    )
    def test_degree(self, rng, kind, degree):
        """Of three layers, each multiplying by the input: what is twice as large grows by `2^d`."""
        layer = kind(3)
        layer.build((None, 2))
        for kernel, bias in zip(layer.kernels, layer.biases, strict=True):
            kernel.assign([[1.0], [0.0]])
            bias.assign(np.zeros(2))
        small, large = (numpy(layer(np.array([[x, x]], "float32")))[0, 0] for x in (1e3, 2e3))
        assert np.log2(large / small) == pytest.approx(degree, abs=0.02)

    @pytest.mark.once  # on every backend: `test_keras_suite`
    @pytest.mark.parametrize("kind", [layers.ExponentialCross, layers.LinearCross])
    def test_contract(self, rng, kind):
        testing.check_layer(kind(2, 0.1), normal(rng, B, 8), (B, 8))
        with pytest.raises(ValueError, match="must be even.*=5"):
            kind(2)(normal(rng, B, 5))
        with pytest.raises(ValueError, match="num_layers"):
            kind(0)


def test_categorical_embedding_leaves_the_values_out(rng):
    schema = testing.example_schema()
    batch, _ = testing.example_batch(schema, rows=3)
    layer = layers.CategoricalEmbedding(D, schema=schema)
    with pytest.raises(ValueError, match="Categorical"):
        layer.adapt(Schema([Numeric("price")]))
    layer.adapt(schema)
    everything = layers.FeatureEmbedding(D, schema=schema)
    layer(batch), everything(batch)
    everything.table.assign(layer.table)
    close(layer(batch), numpy(everything(batch))[:, [0, 1, 2, 5]])
    testing.check_layer(layers.CategoricalEmbedding(D, schema=layer.schema), batch, (3, 4, D))


# Models


def adapted(name, schema=None, **config):
    model = zoo.get(name, **exchange.SMALL[name] | config).adapt(schema or testing.example_schema())
    model.compile("adam")
    return model


# Parameters that BARS reports for its runs on Frappe_x1, rows of the embedding table there, and
# what we have more: we have one bias where FuxiCTR has one per part. AutoInt+: no layer norm (5 ×
# 2·128). FiBiNET: a second matrix. FinalMLP: no tables (5040 × 10) for the gates' columns.
BARS = {
    "ffm": (490400, 5389, 0),
    "fwfm": (107826, 5389, 0),
    "fmfm": (59730, 5389, 0),
    "afm": (60826, 5389, 0),
    "wide_deep": (423280, 5389, 0),
    "ipnn": (433491, 5389, 0),
    "nfm": (384880, 5389, 0),
    "dcn": (418591, 5389, 0),
    "xdeepfm": (429809, 5389, -1),
    "autoint_plus": (622180, 5389, -1 - 5 * 2 * 128),
    "fibinet": (743480, 5389, 10 * 10),
    "masknet": (571691, 5389, 0),
    "afn": (4066711, 5389, 0),
    "finalmlp": (253392, 5399, -1 - 5040 * 10),
    "finalnet": (338502, 5399, -1),
}


@pytest.mark.once
@pytest.mark.parametrize("name", BARS)
def test_settings_have_the_parameters_that_bars_reports(name):
    reported, rows, more = BARS[name]
    names = ["user", "item", *"abcdefgh"]
    schema = Schema([Categorical(field, 10 if at else rows - 90) for at, field in enumerate(names)])
    settings = tomllib.loads((ROOT / "zoo" / name / "frappe_x1.toml").read_text())
    recipe = recipes.get("bars", data="frappe_x1", model=name)
    model = recipe.get(name, **settings.get("model", {})).adapt(schema)
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == reported + more


@pytest.mark.once
def test_batch_norm_in_towers_is_that_of_bars():
    def norm(model, data):
        return recipes.get("bars", data=data, model=model).tower["batch_norm"]

    assert norm("dcn", "frappe_x1") and not norm("nfm", "frappe_x1")
    assert norm("dcnv2", "criteo_x4") and not norm("dcnv2", "avazu_x4")
    assert norm("dnn", "movielens_100k")


class TestTwoStreams:
    P = np.array([[0.1, 0.5, 0.2], [0.6, 0.7, 0.9], [0.8, 0.3, 0.4]], "float32")
    Y = np.array([[0.0], [1.0], [1.0]], "float32")
    WEIGHTS = np.array([1.0, 2.0, 0.5], "float32")

    def bce(self, y, p):
        loss = -y * np.log(p) - (1 - y) * np.log(1 - p)
        return np.mean(self.WEIGHTS[:, None] * loss)

    def loss(self, model, p):
        y, weights = (ops.convert_to_tensor(part) for part in (self.Y, self.WEIGHTS))
        return model.compute_loss(y=y, y_pred=p, sample_weight=weights)

    def gradient(self, model):
        p = keras.Variable(self.P)
        return testing.gradients(lambda: self.loss(model, ops.convert_to_tensor(p)), [p])[0]

    def test_finalnet(self):
        """Both streams learn from the whole, and the whole from the labels alone."""
        model = adapted("finalnet")
        whole, *streams = (self.P[:, at : at + 1] for at in range(3))
        expected = self.bce(self.Y, whole) + sum(self.bce(whole, stream) for stream in streams)
        found = self.loss(model, ops.convert_to_tensor(self.P))
        assert float(found) == pytest.approx(expected, rel=1e-5)
        slope = self.WEIGHTS[:, None] * (self.P - whole) / (self.P * (1 - self.P)) / 3
        slope[:, :1] = self.WEIGHTS[:, None] * (whole - self.Y) / (whole * (1 - whole)) / 3
        np.testing.assert_allclose(self.gradient(model), slope, rtol=1e-4, atol=1e-6)

    def test_fcn(self):
        """A stream that is worse than the whole adds its loss, weighted by the difference."""
        whole, better, worse = (self.bce(self.Y, self.P[:, at : at + 1]) for at in (0, 2, 1))
        assert better < whole < worse
        slopes = {}
        for constant in (True, False):
            model = adapted("fcn", constant_weights=constant)
            found = self.loss(model, ops.convert_to_tensor(self.P))
            assert float(found) == pytest.approx(whole + (worse - whole) * worse, rel=1e-4)
            slopes[constant] = self.gradient(model)
            np.testing.assert_array_equal(slopes[constant][:, 2], 0)
        # d(w·L) = w·dL, or (w + L)·dL where w = L - whole is differentiated as well.
        ratio = (2 * worse - whole) / (worse - whole)
        np.testing.assert_allclose(slopes[False][:, 1], ratio * slopes[True][:, 1], rtol=1e-3)

    def test_training_returns_the_streams_too(self):
        batch, label = testing.example_batch(testing.example_schema(), rows=8)
        model = adapted("fcn", dropout=0.0, linear_dropout=0.0)
        for weight in model.trainable_weights:  # predictions that are not all one half
            weight.assign(weight + 0.3 * keras.random.normal(weight.shape))
        three, one = numpy(model(batch, training=True)), numpy(model(batch))
        np.testing.assert_allclose(three[:, :1], one, rtol=1e-5)
        logits = np.log(three / (1 - three))
        np.testing.assert_allclose(logits[:, 0], logits[:, 1:].mean(1), rtol=1e-3)
        model.compile("adam", metrics=["auc", "binary_accuracy"])  # one follows every step
        history = model.fit(batch, label, batch_size=8, verbose=0).history
        assert list(history) == ["binary_accuracy", "loss"]
        model.reset_metrics()
        found = model.compute_metrics(None, self.Y, ops.convert_to_tensor(self.P))
        assert float(found["binary_accuracy"]) == 1.0  # the streams are wrong twice
        assert model.predict(batch, verbose=0).shape == (8, 1)

    def test_heads_keep_first_and_second_halves_apart(self, rng):
        model = adapted("fcn", num_heads=2)  # width 4 per head
        x = normal(rng, B, F, 8)
        expected = [
            np.concatenate([x[:, :, at : at + 2].reshape(B, -1) for at in (start, start + 2)], 1)
            for start in (0, 4)
        ]
        np.testing.assert_array_equal(numpy(model._heads(x)), np.stack(expected, axis=1))


def test_a_model_of_pairs_needs_two_columns():
    for name in ("ffm", "fwfm", "fmfm", "afm", "ipnn", "nfm", "fibinet", "dlrm"):
        with pytest.raises(ValueError, match="at least 2 fields.*Received: 1"):
            adapted(name, Schema([Categorical("user", 5)]))


@pytest.mark.parametrize("interaction, width", [("dot", 4 + 10), ("cat", 5 * 4)])
def test_dlrm_combines(interaction, width):
    """Three columns, one history and the quantities: five vectors of width 4, ten pairs."""
    model = adapted("dlrm", interaction=interaction)
    assert model.deep.weights[0].shape[0] == width
    with pytest.raises(ValueError, match="'dot', 'cat'.*'sum'"):
        adapted("dlrm", interaction="sum")


@pytest.mark.parametrize("interaction", ["dot", "cat"])
def test_dlrm_without_quantities_or_without_names(rng, tmp_path, interaction):
    schema = Schema([Categorical("user", 5), Categorical("item", 4)])
    model = adapted("dlrm", schema, interaction=interaction)
    batch = {"ids": np.array([[1, 2], [3, 3]], "int32")}
    model.save(tmp_path / "dlrm.keras")
    np.testing.assert_array_equal(
        zoo.load(tmp_path / "dlrm.keras").predict(batch, verbose=0), model.predict(batch, verbose=0)
    )
    with pytest.raises(ValueError, match="must have a Categorical"):
        adapted("dlrm", Schema([Numeric("price"), Numeric("age")]))


@pytest.mark.once
@pytest.mark.parametrize("name", ["lr", "fcn", "finalnet"])
def test_labels_may_have_one_axis(name):
    """As a column of a data frame has; they must not be broadcast over the rows of a batch."""
    batch, label = testing.example_batch(testing.example_schema())
    losses = []
    for y in (label, label[:, 0]):
        keras.utils.set_random_seed(1)
        model = adapted(name)
        model.compile(keras.optimizers.Adam(0.1))
        losses.append(model.fit(batch, y, batch_size=32, epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("layer", [layers.FactorizationMachine(), layers.BiInteraction()])
def test_one_long_field_does_not_drown_the_others(layer, rng):
    """In half precision the difference of two rounded squares is off by a tenth."""
    x = normal(rng, 200, 6, 8)
    x[:, 0] *= 100
    x = ops.cast(x, "bfloat16")
    exact = np.asarray(numpy(ops.cast(x, "float32")), "float64")
    expected = 0.5 * (exact.sum(1) ** 2 - (exact**2).sum(1))
    half = type(layer)(dtype="mixed_bfloat16")
    found = np.asarray(numpy(ops.cast(half(x), "float32")), "float64")
    if found.shape[-1] == 1:
        expected = expected.sum(-1, keepdims=True)
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert error < 0.01


@pytest.mark.parametrize("name", ["lr", "fmfm", "fwfm", "ffm"])
def test_logits_keep_their_digits_in_half_precision(name, rng, monkeypatch):
    """Two predictions need not be equal because their logits round to the same bfloat16."""
    schema = testing.example_schema()
    batch, _ = testing.example_batch(schema, rows=512)
    model = adapted(name, schema, dtype="mixed_bfloat16")
    for weight in model.trainable_weights:
        weight.assign(0.3 * normal(rng, *weight.shape))
    seen = []
    call = layers.Click.call
    monkeypatch.setattr(
        layers.Click, "call", lambda self, logits: seen.append(logits) or call(self, logits)
    )
    model({key: ops.convert_to_tensor(array) for key, array in batch.items()})
    parts = [p for p in keras.tree.flatten(seen[-1]) if p.shape[-1] == 1]
    assert parts
    for part in parts:
        values = numpy(part)
        rounded = numpy(ops.cast(ops.cast(values, "bfloat16"), "float32"))
        assert (values != rounded).mean() > 0.5


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("dcnv2", {"num_layers": 0}, "`num_layers` must be at least 1"),
        ("autoint", {"num_layers": 0}, "`num_layers` must be at least 1"),
        ("autoint_plus", {"num_layers": -1}, "`num_layers` must be at least 1"),
        ("fm", {"embedding_dim": 0}, "`embedding_dim` must be at least 1"),
        ("masknet", {"num_blocks": 0}, "`num_blocks` must be at least 1"),
        ("fcn", {"num_heads": 0}, "`num_heads` must be at least 1"),
        ("eulernet", {"num_vectors": ()}, "`num_vectors` must list"),
        ("eulernet", {"num_vectors": 3}, "`num_vectors` must list.*num_vectors=3"),
        ("dnn", {"hidden_units": 400}, "`hidden_units` must list.*hidden_units=400"),
        ("finalmlp", {"contexts": ("user",)}, "must hold two contexts"),
    ],
)
def test_bad_sizes(name, config, message):
    with pytest.raises(ValueError, match=message):
        zoo.get(name, **config)


def test_bad_sizes_of_the_mixture():
    for config in ({"num_layers": 0}, {"rank": 0}, {"num_experts": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(config))}` must be at least 1"):
            layers.CrossMixture(**config)


def test_afn_starts_where_it_is_told(tmp_path):
    """By default as the authors' code, by its settings as FuxiCTR; and is saved like that."""
    schema = Schema([Categorical("user", 400), Categorical("item", 500)])
    settings = tomllib.loads((ROOT / "zoo/afn/frappe_x1_fuxictr.toml").read_text())["model"]
    for config, table, orders in (
        ({"num_neurons": 1000}, (2 / 910) ** 0.5, 0.1),
        (settings, 1e-4, (2 / 1002) ** 0.5),
    ):
        model = zoo.get("afn", **config).adapt(schema)
        assert numpy(model.embed.table).std() == pytest.approx(table, rel=0.05)
        assert numpy(model.transform.orders).std() == pytest.approx(orders, rel=0.05)
        model.save(tmp_path / "afn.keras")
        again = zoo.load(tmp_path / "afn.keras")
        assert again.get_config() == type(again).from_config(again.get_config()).get_config()


def test_masknet_without_norms_in_its_blocks():
    plain, bare = adapted("masknet"), adapted("masknet", block_norm=False)
    assert plain.count_params() - bare.count_params() == 2 * 5  # gain and shift of one block
    assert type(bare).from_config(bare.get_config()).blocks[0].layer_norm is False


def test_finalmlp_gates():
    with pytest.raises(ValueError, match="column 'usr'. Did you mean 'user'"):
        adapted("finalmlp", contexts=("usr", None))
    model = adapted("finalmlp", gate_units=None)
    assert not model.select
    both, _ = adapted("finalmlp", contexts=[["user", "item"], None]).select
    assert both.gate.weights[0].shape[0] == 2 * 4
    context, free = adapted("finalmlp").select  # "user", and none
    assert context.has_context and [tuple(w.shape) for w in free.weights] == [(6, 4)]
