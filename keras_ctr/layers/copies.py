"""Copies of a layer that was passed as a pattern."""

import keras

from keras_ctr._checks import require_layer
from keras_ctr._config import FromSignature, arguments


def copies(layer, count, dtype=None):
    """Returns `count` new layers with the config of `layer`, each with weights of its own.

    `layer` itself is only a pattern, from which several models can be made. The first copy has its
    name. Copies have the policy `dtype` of their owner, or the current one, not that of when the
    pattern was made.

    Raises:
        ValueError: the pattern is not a layer.
    """
    require_layer(pattern=layer)
    return [_copied(layer, dtype, layer.name if at == 0 else None) for at in range(count)]


def copy_of(layer, dtype=None):
    """Returns one such copy."""
    return copies(layer, 1, dtype)[0]


def _copied(value, dtype, name=None):
    """A copy of a layer, or of what an argument holds: layers in lists, values as they are."""
    if isinstance(value, list | tuple):
        return type(value)(_copied(item, dtype) for item in value)
    if not isinstance(value, keras.Layer):
        return value
    if isinstance(value, FromSignature):  # not by its config, which Keras imports TensorFlow for
        policy = {} if dtype is None else {"dtype": dtype}
        given = {n: _copied(getattr(value, n), dtype) for n in arguments(type(value))}
        return type(value)(**given, **policy, name=name)
    config = unbuilt(value.get_config())
    if dtype is not None:  # by name: what is copied may have to be copied again
        config["dtype"] = dtype if isinstance(dtype, str) else dtype.name
    if name is None:
        config.pop("name", None)
    return type(value).from_config(config)


def unbuilt(config):
    """Leaves out shapes and policies of the layer and those inside: a copy may have other ones."""
    if isinstance(config, list | tuple):
        return [unbuilt(value) for value in config]
    if not isinstance(config, dict) or config.get("class_name") == "InputLayer":
        return config  # the dtype of an input is that of the data
    left_out = ("build_config", "dtype")
    return {key: unbuilt(value) for key, value in config.items() if key not in left_out}


def another(initializer):
    """Returns an initializer that draws anew, where one that is used again would repeat itself."""
    is_object = isinstance(initializer, keras.initializers.Initializer)
    return initializer.clone() if is_object else initializer
