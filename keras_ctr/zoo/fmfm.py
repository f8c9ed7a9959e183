"""Field-matrixed factorization machine. Card: zoo/fmfm/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class FmFM(CTRModel):
    """One matrix per pair of fields: `p = σ(b + Σ_i w_i + Σ_{i<j} e_iᵀ M_ij e_j)`.

    Args:
        embedding_dim: width `D` of the factors `e_i`.
        diagonal: whether the matrices `M_ij` are diagonal (the paper's field-vectorized FM).

    Example:

    >>> model = keras_ctr.zoo.get("fmfm", embedding_dim=4).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Sun et al., "FM²: Field-matrixed Factorization Machines for Recommender Systems", WWW 2021,
        arXiv 2102.12994.
    """

    def __init__(self, embedding_dim=16, diagonal=False, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.diagonal = diagonal
        self.linear = layers.FeatureEmbedding(1, dtype="float32")
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.interact = layers.FieldMatrixedFactorizationMachine(diagonal)
        self.click = layers.Click()

    def call(self, batch, training=None):
        first_order = ops.sum(self.linear(batch), axis=1)  # (B, 1)
        second_order = self.interact(self.embed(batch))  # (B, 1)
        return self.click([first_order, second_order])
