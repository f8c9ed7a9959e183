"""Pairs of fields `i < j`, always in the order (0, 1), (0, 2), …, (1, 2), …"""

import numpy as np
from keras import ops


def pair_indices(fields):
    """Returns two integer arrays with the first and the second field of every pair."""
    if fields < 2:
        raise ValueError(f"Pairs need at least 2 fields (columns). Received: {fields}")
    first, second = np.triu_indices(fields, k=1)
    return first.astype("int32"), second.astype("int32")


def pairs(x):
    """Returns the first and the second vector of every pair of `(B, F, D)`: twice `(B, P, D)`."""
    first, second = pair_indices(x.shape[1])
    return ops.take(x, first, axis=1), ops.take(x, second, axis=1)
