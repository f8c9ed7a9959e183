"""Field-weighted factorization machine. Card: zoo/fwfm/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class FwFM(CTRModel):
    """One strength per pair of fields: `p = σ(b + Σ_i ⟨u_i, e_i⟩ + Σ_{i<j} r_ij ⟨e_i, e_j⟩)`.

    Args:
        embedding_dim: width `D` of the factors `e_i` (the paper's `v_i` and `K`).
        feature_vectors: whether the linear term has a vector `u` for every value, from a second
            table (the paper's FeLV). By default it has one per field (FiLV).

    Example:

    >>> model = keras_ctr.zoo.get("fwfm", embedding_dim=4).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Pan et al., "Field-weighted Factorization Machines for Click-Through Rate Prediction in
        Display Advertising", WWW 2018, arXiv 1806.03514.
    """

    def __init__(self, embedding_dim=10, feature_vectors=False, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.feature_vectors = feature_vectors
        self.embed = layers.FeatureEmbedding(embedding_dim)
        # The vectors per field are those with which `Click` projects the flat embeddings.
        self.linear = (
            layers.FeatureEmbedding(embedding_dim) if feature_vectors else keras.layers.Flatten()
        )
        self.interact = layers.FieldWeightedFactorizationMachine()
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        if self.feature_vectors:
            products = ops.cast(x * self.linear(batch), "float32")
            first_order = ops.sum(products, axis=(1, 2))[:, None]  # (B, 1)
        else:
            first_order = self.linear(x)  # (B, F·D)
        return self.click([first_order, self.interact(x)])
