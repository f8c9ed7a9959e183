"""`walk`: calls a model on symbolic tensors and shows a visitor every function of `keras.ops`.

`call` of the model, and of every layer inside, runs on `keras.KerasTensor`s down to single
functions. No backend takes part, so that a visitor sees the same on all of them.
"""

import contextlib
import inspect

import keras

from keras_ctr.backend import internals
from keras_ctr.zoo import CTRModel


class Visitor:
    """What a walk tells; to be subclassed."""

    def start(self, batch):
        """The walk begins, with these symbolic tensors by their keys."""

    def weight(self, tensor, variable):
        """A symbolic tensor stands in the place of a weight."""

    def enter(self, layer):
        """The `call` of a layer begins. Models inside a model are not told of."""

    def leave(self):
        """The `call` that began last ends."""

    def operation(self, operation, args, kwargs, outputs):
        """A function was called: the `keras.Operation` behind it, what it was given, its output."""

    def scan(self, length, step, state, inputs):
        """Returns what `keras.ops.scan` does: the last state, and the outputs of all steps."""
        raise NotImplementedError


def walk(model, visitor, rows):
    """Calls an adapted model, outside of training, on a batch that is only shapes.

    Args:
        model: a model of the zoo.
        visitor: `Visitor`.
        rows: number of rows, or `None` for any number.

    Returns:
        `(batch, output)`: a dict of symbolic tensors, and the symbolic probabilities.
    """
    shapes = model.schema.shapes().items()
    batch = {key: keras.KerasTensor((rows, *shape), dtype) for key, (shape, dtype) in shapes}
    visitor.start(batch)
    with _symbolic_weights(model, visitor), _down_to_operations(visitor):
        return batch, model.call(batch, training=False)


def leaves(value, path):
    """Yields what lists, tuples and dicts hold, with paths such as `"interact[0]"`."""
    if isinstance(value, list | tuple | dict):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{path}[{key!r}]")
    else:
        yield path, value


@contextlib.contextmanager
def _symbolic_weights(model, visitor):
    """Puts symbolic tensors in the place of all weights.

    Otherwise a weight on the left of an operator would hand the symbolic tensor on its right to the
    backend, which cannot take it. Keras has no public walk through nested layers, hence
    `all_layers`.
    """
    originals = [
        (vars(layer), name, value)
        for layer in internals.all_layers(model)
        for name, value in vars(layer).items()
        if any(isinstance(leaf, keras.Variable) for _, leaf in leaves(value, name))
    ]
    try:
        for attributes, name, value in originals:  # past Keras, which would track the symbols
            attributes[name] = _symbolic(value, visitor)
        yield
    finally:
        for attributes, name, value in originals:
            attributes[name] = value


def _symbolic(value, visitor):
    """Returns a nest with symbolic tensors in the place of the weights in it."""
    if isinstance(value, dict):
        return {key: _symbolic(item, visitor) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_symbolic(item, visitor) for item in value]
    if isinstance(value, keras.Variable):
        tensor = keras.KerasTensor(value.shape, value.dtype)
        visitor.weight(tensor, value)
        return tensor
    return value


@contextlib.contextmanager
def _down_to_operations(visitor):
    """Makes symbolic calls of layers run their `call`, and tells the visitor of every operation.

    Keras would make a layer one node, whose shape the backend infers. To see inside, two of its
    public methods are replaced meanwhile, `Layer.__call__` and `Operation.symbolic_call`.
    """
    call, infer = keras.layers.Layer.__call__, keras.Operation.symbolic_call

    def call_inside(layer, *args, **kwargs):
        flat = keras.tree.flatten((args, kwargs))
        if not any(isinstance(leaf, keras.KerasTensor) for leaf in flat):
            return call(layer, *args, **kwargs)
        kwargs.pop("training", None)
        if "training" in inspect.signature(layer.call).parameters:  # who asks gets it, as in Keras
            kwargs["training"] = False
        if isinstance(layer, CTRModel):  # a backbone: its parts are the model's
            return layer.call(*args, **kwargs)
        visitor.enter(layer)
        try:
            return layer.call(*args, **kwargs)
        finally:
            visitor.leave()

    def infer_and_tell(operation, *args, **kwargs):
        if type(operation).__name__ == "Scan":
            return visitor.scan(operation.length, *args)
        if type(operation).__name__ == "GetItem" and isinstance(args[1], slice):
            args = (args[0], (args[1],))  # Keras knows the shape of `x[:n,]`, not of `x[:n]`
        outputs = operation.compute_output_spec(*args, **kwargs)
        visitor.operation(operation, args, kwargs, outputs)
        return outputs

    keras.layers.Layer.__call__, keras.Operation.symbolic_call = call_inside, infer_and_tell
    try:
        yield
    finally:
        keras.layers.Layer.__call__, keras.Operation.symbolic_call = call, infer
