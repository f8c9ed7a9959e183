from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.interaction.pairs import pair_indices


class FieldAwareFactorizationMachine(Layer):
    """Inner products of vectors that know their partner's field: `Σ_{i<j} ⟨e_i^(j), e_j^(i)⟩`.

    Call arguments:
        x: `(B, F, F - 1, D)` as `FieldAwareEmbedding` returns it.

    Returns:
        A logit `(B, 1)`, float32.

    Reference:
        Juan et al., "Field-aware Factorization Machines", RecSys 2016, eq. (4).
    """

    takes = {"x": "(B, F, F - 1, D)"}

    def call(self, x):
        fields, others, width = x.shape[1:]
        first, second = pair_indices(fields)
        x = ops.reshape(x, (-1, fields * others, width))
        of_first = ops.take(x, first * others + second - 1, axis=1)  # i itself is left out
        of_second = ops.take(x, second * others + first, axis=1)  # (B, P, D)
        return ops.sum(ops.cast(of_first * of_second, "float32"), axis=(1, 2))[:, None]
