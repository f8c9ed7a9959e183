from keras_ctr.layers.base import Layer
from keras_ctr.layers.depth.units import build_in_turn, increment, tail_of_mask
from keras_ctr.layers.residuals.base import tail


class Serial(Layer):
    """Units in a row with plain residuals inside; returns the increment of all of them.

    A whole Transformer layer is `Serial([PreNorm(attention), PreNorm(feed_forward)])`. The
    increments are added up directly, not found as output minus input, which cancels in half
    precision.

    Args:
        units: list of layers, each returning its increment.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: optional `(B, T)` bool.

    Returns:
        The increment `(B, T, D)`, without `x`.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)"}

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        build_in_turn(self.units, input_shape)

    def call(self, x, mask=None, training=None):
        total = increment(self.units[0], x, mask)
        for unit in self.units[1:]:
            x, mask = tail(x, total), tail_of_mask(mask, total)
            y = increment(unit, x + total, mask)
            total = tail(total, y) + y
        return total

    def compute_output_shape(self, input_shape):
        for unit in self.units:
            input_shape = unit.compute_output_shape(input_shape)
        return input_shape
