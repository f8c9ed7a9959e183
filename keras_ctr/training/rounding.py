"""Stochastic rounding of table rows to bfloat16."""

from keras import ops

# The finaliser of MurmurHash3 (Austin Appleby, public domain) on 32 bits, and a step's own salt.
_MULTIPLIERS = (0x85EBCA6B, 0xC2B2AE35)
_SHIFTS = (16, 13)
_SALT = 0x9E3779B9
_LOW = 0xFFFF  # what float32 has more than bfloat16


def stochastic(rows, dtype, step):
    """Rounds float32 rows up or down, with probabilities by which they are right on average.

    To the nearest, a step smaller than half the spacing of bfloat16, 0.4% of a weight, would never
    have an effect. The choice is a hash of the number itself and of the step, so that runs repeat;
    a number that bfloat16 can hold stays what it is.

    Args:
        rows: `(n, D)`, float32.
        dtype: of the table; with any other than bfloat16 nothing is rounded here.
        step: scalar.

    Returns:
        `(n, D)` of that dtype.
    """
    if dtype != "bfloat16":
        return ops.cast(rows, dtype)
    bits = ops.view(rows, dtype="int32")
    salt = ops.cast(step, "int32") * _int32(_SALT)
    noise = ops.bitwise_and(_hash(ops.bitwise_xor(bits, salt)), _int32(_LOW))
    # Bits are sign and magnitude: what is added moves the number away from zero by up to a spacing,
    # and cutting off takes it back by the rest.
    kept = ops.bitwise_and(bits + noise, _int32(~_LOW))
    return ops.cast(ops.view(kept, dtype="float32"), dtype)


def _hash(x):
    for multiplier, shift in zip(_MULTIPLIERS, _SHIFTS, strict=True):
        x = ops.bitwise_xor(x, _shifted(x, shift)) * _int32(multiplier)
    return ops.bitwise_xor(x, _shifted(x, 16))


def _shifted(x, places):
    """Shifts right, zeros coming in."""
    return ops.bitwise_and(ops.right_shift(x, _int32(places)), _int32((1 << (32 - places)) - 1))


def _int32(number):
    number &= 0xFFFFFFFF
    return ops.convert_to_tensor(number - (number >> 31 << 32), "int32")
