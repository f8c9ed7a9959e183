from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.masking import masked_softmax


class MultiHeadTargetAttention(Layer):
    """The target asks the events, in several heads: `[Σ_s a_s^(i) e_s for every head i]`.

    `a^(i) = softmax_s((W_a^(i) t)ᵀ W_b^(i) e_s / √dim)`. The events themselves are summed, there is
    no projection of values. The division by `√dim` is our choice.

    Args:
        num_heads: number of heads `H`.
        dim: width in which a head compares.

    Call arguments:
        target: `(B, K)`.
        events: `(B, S, K)`.
        mask: `(B, S)` bool, True where there is an event.

    Returns:
        `(B, H·K)`; zeros where there is no event.

    Reference:
        Pi et al., "Search-based User Interest Modeling", arXiv 2006.05639, the exact search unit.
    """

    takes = {"target": "(B, K)", "events": "(B, S, K)", "mask": "(B, S)"}

    def __init__(self, num_heads=1, dim=64, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_heads=num_heads, dim=dim)
        self.num_heads = num_heads
        self.dim = dim

    def build(self, target_shape, events_shape, mask_shape=None):
        flat = self.num_heads * self.dim
        self.ask, self.answer = (
            self.add_weight(shape=(shape[-1], flat), initializer="glorot_uniform", name=name)
            for shape, name in ((target_shape, "ask"), (events_shape, "answer"))
        )

    def call(self, target, events, mask):
        heads, (length, width) = (self.num_heads, self.dim), events.shape[1:]
        query = ops.reshape(ops.matmul(target, self.ask), (-1, *heads))
        key = ops.reshape(ops.matmul(events, self.answer), (-1, length, *heads))
        scores = ops.cast(ops.einsum("bhd,bshd->bhs", query, key), "float32") * self.dim**-0.5
        weights = ops.cast(masked_softmax(scores, mask[:, None]), events.dtype)
        found = ops.einsum("bhs,bsk->bhk", weights, events)
        return ops.reshape(found, (-1, self.num_heads * width))

    def compute_output_shape(self, target_shape, events_shape, mask_shape=None):
        return (events_shape[0], self.num_heads * events_shape[2])
