"""FLOPs: against counts by hand, and the same on every backend, since those are."""

import exchange
import keras
import numpy as np
import pytest
from keras import ops

import keras_ctr
from keras_ctr import layers, testing, zoo


def adapted(name, **config):
    return zoo.get(name, **config).adapt(testing.example_schema())


def counted(name, **config):
    return keras_ctr.flops(adapted(name, **config))


# The example schema: 3 ids, 2 numbers, a history of 5 events.


def test_lr_by_hand():
    found = counted("lr")
    lookup = 3 + 5  # padding times zero
    pooling = 5 + 5 + 1 + 1  # sum, number of events, at least 1, quotient
    expected = {"linear": lookup + 2 + pooling, "click": 1 + 1, "other": 6}  # 6 fields are summed
    assert found.parts == expected and list(found.parts) == list(expected)
    assert found.total == 30 and found.per_batch == 0


def test_dnn_by_hand():
    dim, first, second = 4, 8, 3
    found = counted("dnn", embedding_dim=dim, hidden_units=[first, second], dropout=0.5)
    tower = (2 * 6 * dim + 1 + 1) * first  # product, bias, ReLU; nothing for dropout
    tower += (2 * first + 1 + 1) * second
    embed = (3 + 5) * dim + 2 * dim + (5 * dim + 5 + 1 + dim)
    assert found.parts == {"embed": embed, "deep": tower, "click": 2 * second + 2, "other": 0}


def onetrans_by_hand(dim, width, fields, num_layers, heads):
    """Attention, feed-forward part and the rest, from the equations of the class."""
    parts = {
        "embed": (3 + 5 + 2) * dim,
        "tokenize_fields": 4 * 5 * dim + (2 * 5 * dim + 1) * fields * width,
        "tokenize_events": 5 * (4 * dim + (2 * dim + 1 + 1) * width),  # norm, map, position
        "stack": 0,
        "stack.residual": 0,
    }
    tokens = 5 + fields
    for layer in range(num_layers):
        asking = fields if layer == num_layers - 1 else tokens
        norms = 4 * tokens * width + 4 * asking * width
        projections = 2 * width * width * (asking + 2 * tokens + asking)
        products = 2 * 2 * asking * tokens * width  # of queries and keys, of weights and values
        weights = (1 + 1 + 5 + 1) * heads * asking * tokens  # scale, where, softmax, where again
        feed_forward = asking * (2 * 2 * width * 4 * width + (1 + 1) * 4 * width + width)
        inside = 2 * asking * width  # x + attention, and the sum of both increments
        parts["stack"] += norms + projections + products + weights + feed_forward + inside
        parts["stack.residual"] += asking * width
    read = {
        "last_norm": 4 * fields * width,
        "flatten": 0,
        "click": 2 * fields * width + 2,
        "other": 0,
    }
    return {**parts, **read}


def test_onetrans_by_hand():
    sizes = {"embedding_dim": 4, "token_dim": 8, "num_tokens": 3, "num_layers": 2, "num_heads": 2}
    expected = onetrans_by_hand(*sizes.values())
    found = counted("onetrans", **sizes, pyramid=False)
    assert found.parts == expected and list(found.parts) == list(expected)
    assert found.total == sum(expected.values())


def test_counting_leaves_a_model_as_it_was():
    model = adapted("deres", **exchange.SMALL["deres"])
    batch = {k: ops.convert_to_tensor(a) for k, a in testing.example_batch(model.schema)[0].items()}
    before, weights = ops.convert_to_numpy(model(batch)), model.weights
    found = keras_ctr.flops(model)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(batch)), before)
    assert [id(weight) for weight in weights] == [id(weight) for weight in model.weights]
    assert keras_ctr.flops(model) == found


def test_a_trained_model_costs_the_same():
    model = adapted("lr")
    model.compile("adam")
    model.fit(*testing.example_batch(model.schema), verbose=0)
    assert keras_ctr.flops(model) == counted("lr")


def test_weights_alone_are_counted_once_per_batch():
    """UniMixing's matrices do not depend on the rows: more iterations cost no row anything."""
    small = exchange.SMALL["unimixer"]
    few, more = (
        counted("unimixer", **small | {"mixing": layers.UniMixing(4, iterations=iterations)})
        for iterations in (3, 5)
    )
    assert few.parts == more.parts
    n, p = 4 * 8 // 4, 4
    entries, lines = n * p * p + n * n, n * p + n
    # An iteration, rows and columns: product and sum over all entries; maximum and quotient.
    iteration = 2 * (2 * entries + 2 * lines)
    assert more.per_batch - few.per_batch == small["num_layers"] * 2 * iteration
    assert str(few).splitlines()[-1].split() == ["once", "per", "batch", f"{few.per_batch:,}"]


@pytest.mark.once
@pytest.mark.parametrize("granularity", ["layer", "sublayer"])
@pytest.mark.parametrize("num_layers", [4, 8])
def test_deres_costs_less_than_5_percent_more_than_onetrans(num_layers, granularity):
    """At a token width of 128 and feed-forward layers four times as wide (arXiv 2606.07980)."""
    sizes = {"token_dim": 128, "num_tokens": 8, "num_layers": num_layers}
    plain, deres = (
        counted(name, **sizes, granularity=granularity) for name in ("onetrans", "deres")
    )
    assert 1 < deres.total / plain.total < 1.05
    more = deres.parts["stack.residual"] - plain.parts["stack.residual"]
    assert more == deres.total - plain.total  # all of it is the residual's


class TestConvention:
    """Costs of single functions, as they are seen within a model."""

    @pytest.mark.parametrize(
        ("function", "shapes", "expected"),
        [
            (lambda x, w: ops.einsum("bthd,bshd->bhts", x, w), [(1, 3, 2, 4), (1, 5, 2, 4)], 240),
            (lambda x, w: ops.einsum("...d,de->...e", x, w), [(1, 3, 4), (4, 5)], 120),
            (lambda x, w: ops.einsum("...d,...d->...d", x, w), [(1, 3, 4), (1, 1, 4)], 12),
            (lambda x, w: ops.einsum("ij,jk", x, w), [(3, 4), (4, 5)], 120),
            (lambda x: ops.einsum("bt->tb", x), [(3, 4)], 0),
            (lambda x: ops.einsum("bt->b", x), [(3, 4)], 12),
            (lambda x, y, z: ops.einsum("i,i,i->", x, y, z), [(4,), (4,), (4,)], 12),
            (lambda x, w: ops.matmul(x, w), [(2, 3, 4), (4, 5)], 240),
            (lambda x, w: x @ w, [(2, 3, 4), (2, 4, 5)], 240),
            (lambda x, w: ops.dot(x, w), [(3, 4), (4,)], 24),
            (lambda x: ops.softmax(x), [(3, 4)], 60),
            (lambda x: sum(x[i] for i in range(3)), [(3, 4)], 8),
            (lambda x: 1 + x, [(3, 4)], 12),
            (lambda x: ops.where(x > 0, x, 0.0), [(3, 4)], 12),
            (lambda x: ops.max(x, axis=-1), [(3, 4)], 12),
            (lambda x: ops.argmax(x, axis=-1), [(3, 4)], 0),
            (lambda x: x[:2][::-1], [(3, 4)], 0),
            (lambda x, w: x * w, [(3, 1), (4,)], 12),
        ],
    )
    def test_functions(self, function, shapes, expected):
        assert flops_of(function, shapes) == expected

    def test_an_unknown_function_is_an_error(self):
        with pytest.raises(ValueError, match="Received: Inv"):
            flops_of(ops.linalg.inv, [(3, 3)])


def flops_of(function, shapes):
    """FLOPs of a function of symbolic tensors, as a model of it would be counted."""

    class Model(zoo.CTRModel):
        def call(self, batch, training=None):
            return function(*(keras.KerasTensor(shape) for shape in shapes))

    model = Model()
    model.schema = testing.example_schema()
    return keras_ctr.flops(model).per_batch  # nothing here depends on the number of rows


def test_a_tower_of_keras_layers():
    tower = keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(8, "relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
        ]
    )
    found = counted("dnn", embedding_dim=4, tower=tower)
    assert found.parts["deep"] == (2 * 6 * 4 + 1 + 1 + 2) * 8


def test_parts_in_lists_and_shared_parts():
    small = exchange.SMALL["tokenmixer_large"]
    found = counted("tokenmixer_large", **small, aux_weight=0.1)
    assert found.parts["lower_clicks[0]"] == found.parts["click"]
    assert found.parts["last_norm"] == 2 * 4 * 4 * 8  # before each of the clicks


def test_an_error_leaves_keras_as_it_was():
    class Broken(zoo.CTRModel):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, batch, training=None):
            return ops.linalg.inv(self.dense(keras.KerasTensor((2, 2))))

    model = Broken()
    model.dense.build((2, 2))
    model.schema = testing.example_schema()
    methods = keras.layers.Layer.__call__, keras.Operation.symbolic_call
    with pytest.raises(ValueError, match="Inv"):
        keras_ctr.flops(model)
    assert methods == (keras.layers.Layer.__call__, keras.Operation.symbolic_call)
    assert all(isinstance(weight, keras.Variable) for weight in model.dense.weights)
    assert model.dense(np.ones((2, 2))).shape == (2, 2)


def test_without_a_schema_the_error_says_adapt():
    with pytest.raises(ValueError, match="adapt"):
        keras_ctr.flops(zoo.get("lr"))
