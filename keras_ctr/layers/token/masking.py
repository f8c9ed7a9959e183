"""Softmax and sums over events of which some are padding."""

from keras import ops


def masked_softmax(scores, mask):
    """Softmax over the last axis in float32, zero where `mask` is False; all zero if all is."""
    scores = ops.cast(scores, "float32")
    weights = ops.softmax(ops.where(mask, scores, -1e9))
    return weights * ops.cast(mask, "float32")


def weighted_sum(weights, events):
    """`Σ_s w_s e_s` of weights `(B, S)` and events `(B, S, K)`."""
    return ops.einsum("bs,bsk->bk", ops.cast(weights, events.dtype), events)
