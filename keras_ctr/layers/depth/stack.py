from keras_ctr.layers.base import Layer
from keras_ctr.layers.copies import copy_of
from keras_ctr.layers.depth.units import build_in_turn, increment, increments, tail_of_mask
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
        first: optional `(1, P, D)`, tokens that stand before those of every row, and are the same
            for all, as the events of one user are for many candidates. They pass the units once,
            not once per row. The units must be causal, or the first tokens would depend on those
            behind them; and take `first` as well. `mask` is then theirs, `(1, P)`.

    Returns:
        `(B, T, D)`, what the residual reads out at the end.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)", "first": "(1, P, D)"}

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

    def call(self, x, mask=None, first=None, training=None):
        return self.run(x, mask)[0] if first is None else self._run_after(first, x, mask)

    def run(self, x, mask=None):
        """Returns the output, and a tuple of what every unit has seen."""
        state, seen = self.residual.open(x), []
        for at, unit in enumerate(self.units):
            x, kept = self.residual.read(state, at)
            seen.append(x)
            y = increment(unit, x, tail_of_mask(mask, x))
            state = self.residual.write(kept, y, at)
        return self.residual.close(state), tuple(seen)

    def _run_after(self, first, x, mask):
        """Returns the output of the tokens `x` behind the `first` ones."""
        residual = self.residual
        before, state = residual.open(first), residual.open(x)
        for at, unit in enumerate(self.units):
            x, kept = residual.read(state, at)
            if before is None:
                y = increment(unit, x)
            else:
                first, first_kept = residual.read(before, at)
                z, y = increments(unit, first, x, tail_of_mask(mask, first))
                before = None if z is None else residual.write(first_kept, z, at)
            state = residual.write(kept, y, at)
        return residual.close(state)
