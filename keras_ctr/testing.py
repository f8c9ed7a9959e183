"""Contract checks for layers and models: what every one of them must do, in one call each."""

import os
import tempfile

import keras
import numpy as np
from keras import ops

from keras_ctr import zoo
from keras_ctr.features.columns import Categorical, Numeric, Sequence
from keras_ctr.features.schema import Schema
from keras_ctr.measure.flops import flops


def example_schema():
    """Returns a small schema with all three kinds of columns."""
    return Schema(
        [
            Categorical("user", 30),
            Categorical("item", 20),
            Categorical("hour", 10),
            Numeric("price"),
            Numeric("age"),
            Sequence("history", of="item", length=5),
        ],
        label="click",
        group="user",
    )


def example_batch(schema, rows=64, seed=0):
    """Returns `(batch, label)` of random rows; the label depends on the first ids and values."""
    rng = np.random.default_rng(seed)
    batch = {}
    for key, ((width,), dtype) in schema.shapes().items():
        if dtype == "float32":
            batch[key] = rng.normal(size=(rows, width)).astype(dtype)
        else:
            sizes = np.array([size for _, size in schema.bounds()[key]])
            batch[key] = (rng.random((rows, width)) * sizes).astype(dtype)
    for sequence in schema.sequences:  # right-aligned: padding on the left; the first row is empty
        empty = rng.integers(0, sequence.length, rows)
        empty[0] = sequence.length
        batch[sequence.name][np.arange(sequence.length) < empty[:, None]] = 0
    signal = sum(np.asarray(part, "float64")[:, 0] for part in batch.values())
    return batch, (signal > np.median(signal)).astype("float32")[:, None]


def gradients(function, variables):
    """Differentiates the scalar `function()` on the current backend.

    Returns:
        A list of NumPy arrays, one per variable: zeros where the function does not depend on it.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        found = tape.gradient(value, [v.value for v in variables])
        found = [None if g is None else tf.convert_to_tensor(g) for g in found]
    elif backend == "torch":
        for variable in variables:
            variable.value.grad = None
        function().backward()
        found = [v.value.grad for v in variables]
    else:
        import jax

        def stateless(values):
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function()

        found = jax.jit(jax.grad(stateless))([v.value for v in variables])
    return [
        np.zeros(v.shape) if g is None else np.asarray(ops.convert_to_numpy(g), "float64")
        for v, g in zip(variables, found, strict=True)
    ]


def without_gradient(function, variables):
    """Returns the paths of the `variables` that the scalar `function()` does not depend on."""
    found = gradients(function, variables)
    return [v.path for v, g in zip(variables, found, strict=True) if not g.any()]


def check_layer(layer, inputs, expected_shape=None, call_kwargs=None, frozen=()):
    """Checks what every layer promises; raises `AssertionError` with the first broken promise.

    It builds from shapes alone, its output has the shape that a symbolic call announces, its config
    rebuilds it with the same weights to the same output, it computes under `mixed_bfloat16`, and
    every weight has a gradient.

    Args:
        layer: an instance, not built.
        inputs: its input: array, or nest of arrays.
        expected_shape: shape of the output, if it is a single tensor.
        call_kwargs: further arguments of the call.
        frozen: parts of names of weights that need not have a gradient.

    Returns:
        The layer's output as NumPy array(s).
    """
    call_kwargs = call_kwargs or {}
    cls = type(layer)
    config = layer.get_config()
    symbolic = keras.tree.map_structure(
        lambda a: keras.KerasTensor(a.shape, dtype=str(a.dtype)), inputs
    )
    announced = layer(symbolic, **call_kwargs)
    outputs = layer(inputs, **call_kwargs)
    shapes = [tuple(o.shape) for o in keras.tree.flatten(outputs)]
    _require(
        shapes == [tuple(o.shape) for o in keras.tree.flatten(announced)],
        f"{cls.__name__}: symbolic and real output shapes differ",
    )
    if expected_shape is not None:
        _require(shapes == [tuple(expected_shape)], f"{cls.__name__}: output shape {shapes}")
    _require(
        keras.saving.serialize_keras_object(layer)["config"] == config
        or cls.from_config(layer.get_config()).get_config().keys() == config.keys(),
        f"{cls.__name__}: the config changes once the layer is built",
    )
    outputs = _numpy(outputs)

    twin = cls.from_config(config)
    twin(inputs, **call_kwargs)
    twin.set_weights(layer.get_weights())
    repeated = keras.tree.flatten(_numpy(twin(inputs, **call_kwargs)))
    for one, other in zip(keras.tree.flatten(outputs), repeated, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)

    with zoo.dtype_policy("mixed_bfloat16"):
        half = cls.from_config(_without_dtype(config))
        for output in keras.tree.flatten(half(inputs, **call_kwargs)):
            if keras.backend.is_float_dtype(output.dtype):
                values = ops.convert_to_numpy(ops.cast(output, "float32"))
                _require(np.isfinite(values).all(), f"{cls.__name__}: not finite in bfloat16")

    if layer.trainable_variables:
        # At a point where no weight is special: one that starts at zero may silence its factor.
        for variable in layer.trainable_variables:
            variable.assign(variable + keras.random.normal(variable.shape, stddev=0.1))

        def loss():
            parts = keras.tree.flatten(layer(inputs, **call_kwargs))
            return sum(
                ops.sum(ops.square(p + 0.1 * ops.cast(ops.arange(p.shape[-1]), p.dtype)))
                for p in parts
                if keras.backend.is_float_dtype(p.dtype)
            )

        missing = without_gradient(loss, layer.trainable_variables)
        missing = [path for path in missing if not any(part in path for part in frozen)]
        _require(not missing, f"{cls.__name__}: no gradient reaches {missing}")
    return outputs


def check_model(name, schema=None, **config):
    """Checks what every model of the zoo promises; raises `AssertionError` otherwise.

    It is built by `adapt` alone, gives float32 probabilities, has a finite prediction for an empty
    history, its loss falls in `fit`, every variable has a gradient, it is saved and reloaded to
    identical predictions, with its schema and without `custom_objects`, and it trains under
    `mixed_bfloat16` and is reloaded with that policy, and its FLOPs can be counted.

    Args:
        name: one of `zoo.names()`.
        schema: `Schema` with sizes; default `example_schema()`.
        **config: arguments of the model; keep it small.

    Returns:
        The number of parameters.
    """
    schema = schema or example_schema()
    batch, label = example_batch(schema)
    tensors = {key: ops.convert_to_tensor(array) for key, array in batch.items()}
    model = zoo.get(name, **config).adapt(schema)
    _require(model.built, f"{name}: `adapt` did not build the model")
    counted = flops(model)
    _require(min(*counted.parts.values(), counted.per_batch) >= 0, f"{name}: FLOPs {counted}")
    _require(counted.total > 0, f"{name}: no FLOPs")

    _train(model, batch, label)
    found = model.evaluate(batch, label, verbose=0, return_dict=True)
    _require(list(found) == ["loss", "auc", "logloss"], f"{name}: evaluation gave {list(found)}")
    p = model.predict(batch, verbose=0)
    _require(p.shape == (len(label), 1), f"{name}: predictions of shape {p.shape}")
    _require(p.dtype == np.float32, f"{name}: predictions in {p.dtype}")
    _require(((p > 0) & (p < 1)).all(), f"{name}: predictions are no probabilities")
    _require(np.std(p) > 0, f"{name}: predictions are all the same")

    loaded = _saved_and_loaded(model)
    _require(loaded.schema == schema, f"{name}: the schema was not saved")
    steps = int(loaded.optimizer.iterations)
    _require(steps == int(model.optimizer.iterations), f"{name}: the optimizer was not saved")
    np.testing.assert_array_equal(loaded.predict(batch, verbose=0), p)

    # Of the loss in training, since auxiliary heads act there only; it moves running statistics.
    missing = without_gradient(
        lambda: model.compute_loss(
            y=ops.convert_to_tensor(label), y_pred=model(tensors, training=True)
        ),
        model.trainable_variables,
    )
    _require(not missing, f"{name}: no gradient reaches {missing}")

    half = zoo.get(name, dtype="mixed_bfloat16", **config).adapt(schema)
    # TensorFlow takes as long to trace a step as for twenty of them.
    _train(half, batch, label, run_eagerly=keras.backend.backend() == "tensorflow")
    loaded = _saved_and_loaded(half)
    _require(
        loaded.dtype_policy.name == "mixed_bfloat16", f"{name}: the dtype policy was not saved"
    )
    np.testing.assert_array_equal(probabilities(loaded, batch), probabilities(half, batch))
    return model.count_params()


def probabilities(model, batch):
    """Returns what a model gives a dict of packed arrays, by the way that compiles least.

    On JAX that is `predict`: op by op, every shape would be compiled by itself. Elsewhere it is the
    model's call, since to trace `predict` takes longer.
    """
    if keras.backend.backend() == "jax":
        return model.predict(batch, verbose=0)
    tensors = {key: ops.convert_to_tensor(array) for key, array in batch.items()}
    return ops.convert_to_numpy(model(tensors))


def _train(model, batch, label, run_eagerly=False):
    """A few steps on one batch; the loss must fall."""
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=run_eagerly)
    epochs = 4 if run_eagerly else 10
    history = model.fit(
        batch, label, batch_size=len(label), epochs=epochs, verbose=0, shuffle=False
    ).history["loss"]
    _require(
        history[-1] < history[0],
        f"{model.name}: the loss does not fall under {model.dtype_policy.name}: {history}",
    )


def _saved_and_loaded(model):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        return keras.saving.load_model(path)


def _without_dtype(config):
    """Leaves the dtype policies out of a config and its parts, which then take the global one."""
    if isinstance(config, dict):
        return {k: _without_dtype(v) for k, v in config.items() if k != "dtype"}
    return [_without_dtype(v) for v in config] if isinstance(config, list) else config


def _numpy(outputs):
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


def _require(condition, message):
    if not condition:
        raise AssertionError(message)
