from keras_ctr.layers.base import Layer
from keras_ctr.layers.copies import copy_of
from keras_ctr.layers.depth.units import build_in_turn, increment, tail_of_mask
from keras_ctr.layers.residuals import Identity


class Stack(Layer):
    """Units connected in depth by a residual: `read`, call the unit, `write`, for each of them.

    Args:
        units: list of layers that map tokens `(B, T, D)` to their increment `(B, T, D)`.
        residual: how the units are connected, an object of `keras_ctr.layers.residuals`. It owns
            the weights of every site: of one that is in another stack already, this one gets a
            copy. `None`: `Identity()`, the plain `x + f(x)`.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: optional `(B, T)` bool, handed to every unit.

    Returns:
        `(B, T, D)`, what the residual reads out at the end.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)"}

    def __init__(self, units, residual=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        if residual is None:
            residual = Identity(dtype=self.dtype_policy)
        elif residual.in_stack:
            residual = copy_of(residual, residual.dtype_policy)
        self.residual = residual
        self.residual.in_stack = True

    def build(self, input_shape):
        build_in_turn(self.units, input_shape)
        if not self.residual.built:  # one that comes from a saved config is built already
            self.residual.build((len(self.units), input_shape[-1]))

    def call(self, x, mask=None, training=None):
        return self.run(x, mask)[0]

    def run(self, x, mask=None):
        """Returns the output, and a tuple of what every unit has seen."""
        state, seen = self.residual.open(x), []
        for at, unit in enumerate(self.units):
            x, kept = self.residual.read(state, at)
            seen.append(x)
            y = increment(unit, x, tail_of_mask(mask, x))
            state = self.residual.write(kept, y, at)
        return self.residual.close(state), tuple(seen)
