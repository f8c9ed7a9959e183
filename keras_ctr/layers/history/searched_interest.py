from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.copies import copies
from keras_ctr.layers.history.multi_head_target_attention import MultiHeadTargetAttention
from keras_ctr.layers.history.soft_search import SoftSearch
from keras_ctr.layers.history.target_attention import TargetAttention


class SearchedInterest(Layer):
    """SIM's two interests in a target: among all events those found by search, and the newest.

    Unlike in the paper, the newest events are read by target attention, not by DIEN, and events
    found carry no vector of the time since: histories have no times.

    Args:
        top_k: events that the search returns; at most all.
        num_recent: newest events that make the short-term interest; at most all.
        dim: width in which the search, and every head after it, compares.
        num_heads: heads of the attention over the events found.
        attention: pattern of the attention over the newest events. `None`: `TargetAttention()`.

    Call arguments:
        target: `(B, K)`.
        events: `(B, S, K)`, oldest first.
        mask: `(B, S)` bool, True where there is an event.

    Returns:
        Both interests side by side, `(B, num_heads·K + K)`, and the search's `U_r` `(B, K)`.

    Reference:
        Pi et al., "Search-based User Interest Modeling", arXiv 2006.05639.
    """

    takes = {"target": "(B, K)", "events": "(B, S, K)", "mask": "(B, S)"}

    def __init__(self, top_k=50, num_recent=50, dim=64, num_heads=1, attention=None, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_recent=num_recent)
        self.top_k = top_k
        self.num_recent = num_recent
        self.dim = dim
        self.num_heads = num_heads
        self.search = SoftSearch(top_k, dim, dtype=self.dtype_policy)
        self.long = MultiHeadTargetAttention(num_heads, dim, dtype=self.dtype_policy)
        [self.attention] = copies(attention or TargetAttention(), 1, self.dtype_policy)

    def build(self, target_shape, events_shape, mask_shape=None):
        for part in (self.search, self.long, self.attention):
            part.build(target_shape, events_shape, mask_shape)

    def call(self, target, events, mask, training=None):
        found, there, pooled = self.search(target, events, mask)
        long = self.long(target, found, there)
        short = self.attention(target, events[:, -self.num_recent :], mask[:, -self.num_recent :])
        return ops.concatenate([long, short], axis=-1), pooled
