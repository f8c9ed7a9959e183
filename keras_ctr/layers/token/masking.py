"""Softmax and sums over events of which some are padding, or all rows share one history."""

from keras import ops


def masked_softmax(scores, mask):
    """Softmax over the last axis in float32, zero where `mask` is False; all zero if all is."""
    scores = ops.cast(scores, "float32")
    weights = ops.softmax(ops.where(mask, scores, -1e9))
    return weights * ops.cast(mask, "float32")


def weighted_sum(weights, events):
    """`Σ_s w_s e_s` of weights `(B, S)` and events `(B, S, K)`, or `(1, S, K)` of all rows."""
    if is_shared(events, weights):
        return ops.matmul(ops.cast(weights, events.dtype), events[0])
    return ops.einsum("bs,bsk->bk", ops.cast(weights, events.dtype), events)


def is_shared(events, rows):
    """Whether histories are those of one row, shared by the several of another tensor.

    Args:
        events: a tensor of events, of their weights or their mask; or a list of `(events, mask)`.
        rows: tensor whose first axis is that of the rows.
    """
    if isinstance(events, list | tuple):
        return bool(events) and is_shared(events[0][0], rows)
    return events.shape[0] == 1 and rows.shape[0] != 1
