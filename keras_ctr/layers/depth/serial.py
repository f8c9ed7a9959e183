from keras_ctr.layers.base import Layer
from keras_ctr.layers.depth.units import build_in_turn, increment, increments, tail_of_mask
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
        first: optional `(1, P, D)`, tokens before all rows, see `Stack`.

    Returns:
        The increment `(B, T, D)`, without `x`. With `first`: a pair of theirs and this.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)", "first": "(1, P, D)"}

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        build_in_turn(self.units, input_shape)

    def call(self, x, mask=None, first=None, training=None):
        if first is not None:
            return self._after(first, x, mask)
        total = increment(self.units[0], x, mask)
        for unit in self.units[1:]:
            x, mask = tail(x, total), tail_of_mask(mask, total)
            y = increment(unit, x + total, mask)
            total = tail(total, y) + y
        return total

    def _after(self, first, x, mask):
        """The increments of the `first` tokens (None once none is left) and of `x`."""
        of_first, of_x = increments(self.units[0], first, x, mask)
        for unit in self.units[1:]:
            x = tail(x, of_x)
            if of_first is None:
                y = increment(unit, x + of_x)
            else:
                first, mask = tail(first, of_first), tail_of_mask(mask, of_first)
                z, y = increments(unit, first + of_first, x + of_x, mask)
                of_first = None if z is None else tail(of_first, z) + z
            of_x = tail(of_x, y) + y
        return of_first, of_x

    def compute_output_shape(self, input_shape):
        for unit in self.units:
            input_shape = unit.compute_output_shape(input_shape)
        return input_shape
