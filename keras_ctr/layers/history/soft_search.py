from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer


class SoftSearch(Layer):
    """SIM's general search unit: the `k` events with the largest `r_s = (W_a t)ᵀ W_b e_s`.

    To choose has no gradient. What teaches `W_a` and `W_b` is a second output, all events weighted
    by their scores, `U_r = Σ_s r_s e_s`, from which an auxiliary tower must predict the click.

    Args:
        top_k: number of events `k`; at most all.
        dim: width in which target and events are compared.

    Call arguments:
        target: `(B, K)`.
        events: `(B, S, K)`.
        mask: `(B, S)` bool, True where there is an event.

    Returns:
        The events found `(B, k, K)`, best first; their mask `(B, k)`, False where a history has
        fewer; and `U_r` `(B, K)`.

    Reference:
        Pi et al., "Search-based User Interest Modeling", arXiv 2006.05639, eq. (1), soft search.
    """

    takes = {"target": "(B, K)", "events": "(B, S, K)", "mask": "(B, S)"}

    def __init__(self, top_k=50, dim=64, **kwargs):
        super().__init__(**kwargs)
        require_positive(top_k=top_k, dim=dim)
        self.top_k = top_k
        self.dim = dim

    def build(self, target_shape, events_shape, mask_shape=None):
        self.ask, self.answer = (
            self.add_weight(shape=(shape[-1], self.dim), initializer="glorot_uniform", name=name)
            for shape, name in ((target_shape, "ask"), (events_shape, "answer"))
        )

    def call(self, target, events, mask):
        query, key = ops.matmul(target, self.ask), ops.matmul(events, self.answer)
        scores = ops.cast(ops.einsum("bd,bsd->bs", query, key), "float32")
        pooled = ops.where(mask, scores, 0.0)[..., None] * ops.cast(events, "float32")
        pooled = ops.cast(ops.sum(pooled, axis=1), events.dtype)  # (B, K)
        count = min(self.top_k, events.shape[1])
        # Not `top_k`, which on PyTorch takes any of equal scores: here the oldest comes first.
        best = ops.argsort(ops.where(mask, -scores, 1e9), axis=1)[:, :count]  # (B, k)
        found = ops.take_along_axis(events, best[..., None], axis=1)
        return found, ops.take_along_axis(mask, best, axis=1), pooled
