from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.masking import masked_softmax, weighted_sum


class BilinearAttention(Layer):
    """DIEN's attention: `Σ_s a_s h_s` with `a = softmax_s(h_sᵀ W t)`.

    `W` starts as the identity where it is square (our choice): an inner product.

    Call arguments:
        target: `(B, K_t)`.
        events: `(B, S, K)`.
        mask: `(B, S)` bool, True where there is an event.

    Returns:
        `(B, K)`; zeros where there is no event.

    Reference:
        Zhou et al., "Deep Interest Evolution Network", arXiv 1809.03672, eq. (5).
    """

    takes = {"target": "(B, K_t)", "events": "(B, S, K)", "mask": "(B, S)"}

    def build(self, target_shape, events_shape, mask_shape=None):
        width, target = events_shape[-1], target_shape[-1]
        self.kernel = self.add_weight(
            shape=(width, target),
            initializer="identity" if width == target else "glorot_uniform",
            name="kernel",
        )

    def call(self, target, events, mask):
        return weighted_sum(self.scores(target, events, mask), events)

    def scores(self, target, events, mask):
        """Returns the weights `a` `(B, S)`, float32."""
        asked = ops.einsum("bt,kt->bk", target, self.kernel)
        return masked_softmax(ops.einsum("bk,bsk->bs", asked, events), mask)

    def compute_output_shape(self, target_shape, events_shape, mask_shape=None):
        return (events_shape[0], events_shape[2])
