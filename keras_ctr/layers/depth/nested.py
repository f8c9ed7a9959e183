from keras_ctr.layers.base import Layer
from keras_ctr.layers.depth.units import build_in_turn, increment


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

    takes = {"x": "(B, T, D)", "mask": "(B, T)"}

    def __init__(self, inner, outer, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.outer = outer

    def build(self, input_shape):
        build_in_turn([self.inner, self.outer], input_shape)

    def call(self, x, mask=None, training=None):
        return increment(self.outer, x + increment(self.inner, x, mask), mask)

    def compute_output_shape(self, input_shape):
        return self.outer.compute_output_shape(input_shape)
