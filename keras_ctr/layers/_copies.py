"""Copies of a layer that was passed as a pattern."""


def copies(layer, count):
    """Returns `count` new layers with the config of `layer`, each with weights of its own.

    `layer` itself is only a pattern, from which several models can be made. The first copy has its
    name, so that a config that holds the copy in place of the pattern is the same.
    """
    config = _unbuilt(layer.get_config())
    unnamed = {key: value for key, value in config.items() if key != "name"}
    return [type(layer).from_config(unnamed if at else config) for at in range(count)]


def _unbuilt(config):
    """Leaves out the shapes for which layers inside were built: a copy may see other ones."""
    if not isinstance(config, dict):
        return config
    return {key: _unbuilt(value) for key, value in config.items() if key != "build_config"}
