"""Copies of a layer that was passed as a pattern."""

import keras


def copies(layer, count, dtype=None):
    """Returns `count` new layers with the config of `layer`, each with weights of its own.

    `layer` itself is only a pattern, from which several models can be made. The first copy has its
    name, so that a config that holds the copy in place of the pattern is the same. Copies have the
    policy `dtype` of their owner, or the current one, not that of when the pattern was made.

    Raises:
        ValueError: the pattern is not a layer.
    """
    if not isinstance(layer, keras.Layer):
        raise ValueError(f"A pattern must be a layer, not its name or class. Received: {layer!r}")
    config = _unbuilt(layer.get_config())
    if dtype is not None:
        config["dtype"] = dtype
    unnamed = {key: value for key, value in config.items() if key != "name"}
    return [type(layer).from_config(unnamed if at else config) for at in range(count)]


def _unbuilt(config):
    """Leaves out shapes and policies of the layer and those inside: a copy may have other ones."""
    if not isinstance(config, dict):
        return config
    left_out = ("build_config", "dtype")
    return {key: _unbuilt(value) for key, value in config.items() if key not in left_out}
