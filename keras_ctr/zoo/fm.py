"""Factorization machine. Card: zoo/fm/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class FM(CTRModel):
    """Factorization machine: `p = σ(b + Σ_i w_i + Σ_{i<j} ⟨e_i, e_j⟩)`.

    Args:
        embedding_dim: width `D` of the factors `e_i` (the paper's `v_i` and `k`).

    Example:

    >>> model = keras_ctr.zoo.get("fm", embedding_dim=4).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Rendle, "Factorization Machines", ICDM 2010, eq. (1).
    """

    def __init__(self, embedding_dim=16, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.linear = layers.FeatureEmbedding(1, dtype="float32")
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.interact = layers.FactorizationMachine()
        self.click = layers.Click()

    def call(self, batch, training=None):
        first_order = ops.sum(self.linear(batch), axis=1)  # (B, 1)
        second_order = self.interact(self.embed(batch))  # (B, 1)
        return self.click([first_order, second_order])
