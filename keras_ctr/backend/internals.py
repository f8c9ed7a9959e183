"""The private names of Keras that this package uses, all of them. A test sees that they exist."""

from keras.src.backend import AutocastScope, compute_output_spec

NAMES = {  # of `keras.Model`
    "_compute_loss": "the loss as Keras's own steps compute it",
    "_inbound_nodes": "the symbolic calls of a layer, by whose numbers a functional model is saved",
    "_flatten_layers": "a layer and all inside it",
    "_layers": "the layers that a layer holds",
    "_loss_tracker": "the metric that averages the loss",
    "_update_metrics_variables": "metrics of a step without side effects (JAX)",
}


def layers_of(layer, kind):
    """Returns the layers of a kind inside `layer`, however deep: its own first, each of them once.

    Args:
        layer: a layer or model.
        kind: a class.
    """
    found = {id(part): part for part in layer._layers if isinstance(part, kind)}
    for part in layer._layers:
        for inner in layers_of(part, kind):
            found.setdefault(id(inner), inner)
    return list(found.values())


def traced(function, dtype, args, kwargs):
    """Returns what `function(*args, **kwargs)` gives as `KerasTensor`s, without computing it.

    Args:
        function: a layer's call.
        dtype: what its float weights are read in, as its policy has it; `None`: as they are.
        args: arguments, with a `KerasTensor` for each tensor.
        kwargs: those with names.
    """
    with AutocastScope(dtype):
        return compute_output_spec(function, *args, **kwargs)


def forget_symbolic_calls(layer):
    """Leaves a layer as if it had not been called on symbolic tensors."""
    layer._inbound_nodes.clear()


def all_layers(model):
    """Returns the model and all layers inside."""
    return list(model._flatten_layers())


def compute_loss(model, **kwargs):
    """Returns the loss of a batch, with the losses that layers have added."""
    return model._compute_loss(**kwargs)


def track_loss(model, loss, rows):
    """Takes the mean loss of `rows` rows into the one that `fit` shows."""
    model._loss_tracker.update_state(loss, sample_weight=rows)


def update_metrics(model, *args):
    """Returns the logs and the new values of the metrics' variables after a step, on JAX."""
    return model._update_metrics_variables(*args)


def path_in(store):
    """Returns the path at which an HDF5 store of a saved model stands; of others `None`."""
    return getattr(store, "_h5_entry_path", None)
