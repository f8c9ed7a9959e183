from keras_ctr.layers._base import Layer
from keras_ctr.layers.stack import build_in_turn


class Nested(Layer):
    """One unit inside another: returns the increment `outer(x + inner(x))`.

    Unlike in `Serial`, the inner increment is only seen by the outer unit; it is not part of what
    is returned, so that the stream changes by the outer one alone.

    Args:
        inner: unit that returns its increment.
        outer: unit that returns its increment.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: optional `(B, T)` bool, handed to both.

    Returns:
        The increment `(B, T, D)`, without `x`.
    """

    def __init__(self, inner, outer, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.outer = outer

    def build(self, input_shape):
        build_in_turn([self.inner, self.outer], input_shape)

    def call(self, x, mask=None, training=None):
        return self.outer(x + self.inner(x, mask=mask), mask=mask)

    def compute_output_shape(self, input_shape):
        return self.outer.compute_output_shape(input_shape)


def copies(layer, count):
    """Returns `count` new layers with the config of `layer`, each with weights of its own.

    `layer` itself is only a pattern, from which several models can be made. The first copy has its
    name, so that a config that holds the copy in place of the pattern is the same. Copies take the
    dtype policy of the model they are made in, not that of the moment the pattern was made.
    """
    config = _unbuilt(layer.get_config())
    unnamed = {key: value for key, value in config.items() if key != "name"}
    return [type(layer).from_config(unnamed if at else config) for at in range(count)]


def _unbuilt(config):
    """Leaves out shapes and policies of the layer and those inside: a copy may have other ones."""
    if not isinstance(config, dict):
        return config
    left_out = ("build_config", "dtype")
    return {key: _unbuilt(value) for key, value in config.items() if key not in left_out}
