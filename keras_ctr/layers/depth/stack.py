import keras

from keras_ctr.layers.base import Layer
from keras_ctr.layers.copies import copy_of
from keras_ctr.layers.residuals import Identity
from keras_ctr.layers.residuals.base import tail


def get_norm(norm=None, dtype=None):
    """Returns a norm of its own for one place: a copy of a pattern, or an `RMSNormalization`.

    >>> type(keras_ctr.layers.get_norm()).__name__
    'RMSNormalization'

    Args:
        norm: a layer that keeps shapes, such as `SeeDNorm()`; or `None`.
        dtype: policy of the norm.
    """
    if norm is None:
        return keras.layers.RMSNormalization(dtype=dtype)
    return copy_of(norm, dtype)


class PreNorm(Layer):
    """A sub-layer with its norm and dropout: returns the increment `dropout(f(norm(x)))`.

    Args:
        sublayer: layer `f` on tokens, called as `f(x, mask=mask)`.
        dropout: rate on the increment.
        norm: pattern of the norm, such as `SeeDNorm()`; one pattern can serve many units, since
            each makes its own copy. `None`: `RMSNormalization`.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: optional `(B, T)` bool.

    Returns:
        The increment, without `x`: `(B, T, D)`, or its last tokens if `f` keeps only those.
    """

    def __init__(self, sublayer, dropout=0.0, norm=None, **kwargs):
        super().__init__(**kwargs)
        self.sublayer = sublayer
        self.dropout = dropout
        self.norm = get_norm(norm, self.dtype_policy)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.norm.build(input_shape)
        if not self.sublayer.built:
            self.sublayer.build(input_shape)

    def call(self, x, mask=None, training=None):
        return self.drop(self.sublayer(self.norm(x), mask=mask))

    def compute_output_shape(self, input_shape):
        return self.sublayer.compute_output_shape(input_shape)


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

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        build_in_turn(self.units, input_shape)

    def call(self, x, mask=None, training=None):
        total = self.units[0](x, mask=mask)
        for unit in self.units[1:]:
            x, mask = tail(x, total), _tail_of_mask(mask, total)
            increment = unit(x + total, mask=mask)
            total = tail(total, increment) + increment
        return total

    def compute_output_shape(self, input_shape):
        for unit in self.units:
            input_shape = unit.compute_output_shape(input_shape)
        return input_shape


class Stack(Layer):
    """Units connected in depth by a residual: `read`, call the unit, `write`, for each of them.

    Args:
        units: list of layers that map tokens `(B, T, D)` to their increment `(B, T, D)`.
        residual: how the units are connected, an object of `keras_ctr.layers.residuals` that is
            in no other stack. `None`: `Identity()`, the plain `x + f(x)`.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: optional `(B, T)` bool, handed to every unit.

    Returns:
        `(B, T, D)`, what the residual reads out at the end.
    """

    def __init__(self, units, residual=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.residual = Identity(dtype=self.dtype_policy) if residual is None else residual
        if self.residual.in_stack:
            raise ValueError(
                "A residual belongs to one stack, since it owns the weights of every site: make a "
                f"new one for each stack. Received: residual={residual!r}, which is in another"
            )
        self.residual.in_stack = True

    def build(self, input_shape):
        build_in_turn(self.units, input_shape)
        if not self.residual.built:  # one that comes from a saved config is built already
            self.residual.build((len(self.units), input_shape[-1]))

    def call(self, x, mask=None, training=None):
        return self.run(x, mask)[0]

    def run(self, x, mask=None):
        """Returns the output, and a list of what every unit has seen."""
        state, seen = self.residual.open(x), []
        for at, unit in enumerate(self.units):
            x, kept = self.residual.read(state, at)
            seen.append(x)
            state = self.residual.write(kept, unit(x, mask=_tail_of_mask(mask, x)), at)
        return self.residual.close(state), seen


def _tail_of_mask(mask, x):
    return None if mask is None else mask[:, -x.shape[1] :]


def build_in_turn(units, shape):
    """Builds units that are not yet built, each for the tokens the one before it leaves."""
    for unit in units:
        if not unit.built:
            unit.build(shape)
        shape = unit.compute_output_shape(shape)
