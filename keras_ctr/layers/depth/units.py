"""What layers that hold units share: how one is built, called, and given its part of a mask."""

from keras import ops


def increment(unit, x, mask=None):
    """Returns `unit(x, mask=mask)` in the dtype of `x`, whatever policy the unit has."""
    return ops.cast(unit(x, mask=mask), x.dtype)


def increments(unit, first, x, mask=None):
    """As `increment` for tokens in two parts, see `Stack`: returns those of `first` and of `x`.

    The former is None where the unit lets none of them through.
    """
    of_first, of_x = unit(x, mask=mask, first=first)
    return None if of_first is None else ops.cast(of_first, first.dtype), ops.cast(of_x, x.dtype)


def tail_of_mask(mask, x):
    """Returns the part of a mask `(B, T)` that belongs to the tokens `x`, the last of them."""
    return None if mask is None else mask[:, -x.shape[1] :]


def build_in_turn(units, shape):
    """Builds units that are not yet built, each for the tokens the one before it leaves."""
    for unit in units:
        if not unit.built:
            unit.build(shape)
        shape = unit.compute_output_shape(shape)
