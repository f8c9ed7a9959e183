"""Norms of units."""

import keras

from keras_ctr.layers.copies import copy_of


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
