"""Field-aware factorization machine. Card: zoo/ffm/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class FFM(CTRModel):
    """A factor for each partner's field: `p = σ(b + Σ_i w_i + Σ_{i<j} ⟨e_i^(j), e_j^(i)⟩)`.

    Args:
        embedding_dim: width `D` of each factor (the paper's `k`). A value has `F - 1` of them.

    Example:

    >>> model = keras_ctr.zoo.get("ffm", embedding_dim=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Juan et al., "Field-aware Factorization Machines", RecSys 2016, eq. (4).
    """

    def __init__(self, embedding_dim=4, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.linear = layers.FeatureEmbedding(1, dtype="float32")
        self.embed = layers.FieldAwareEmbedding(embedding_dim)
        self.interact = layers.FieldAwareFactorizationMachine()
        self.click = layers.Click()

    def call(self, batch, training=None):
        first_order = ops.sum(self.linear(batch), axis=1)  # (B, 1)
        second_order = self.interact(self.embed(batch))  # (B, 1)
        return self.click([first_order, second_order])
