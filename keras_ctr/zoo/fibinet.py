"""FiBiNET. Card: zoo/fibinet/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class FiBiNET(CTRModel):
    """Products seen through matrices, of the fields and of the fields weighted by importance.

    `p = σ(b + Σ_i w_i + MLP([(e_i W) ⊙ e_j; (ẽ_i W̃) ⊙ ẽ_j for i < j]))`, `ẽ_i = a_i e_i`.

    Args:
        embedding_dim: width `D` of the embeddings (the paper's `k`).
        reduction_ratio: of the squeeze-and-excitation that makes `a` (the paper's `r`).
        kernel: `"all"`, `"field"` or `"pair"`: one matrix `W`, one per field, or one per pair.
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("fibinet", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Huang et al., "FiBiNET", arXiv 1905.09433, figure 1.
    """

    def __init__(
        self,
        embedding_dim=10,
        reduction_ratio=3,
        kernel="pair",
        hidden_units=(400, 400, 400),
        dropout=0.5,
        activation="relu",
        tower=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.reduction_ratio = reduction_ratio
        self.kernel = kernel
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.tower = tower
        self.linear = layers.FeatureEmbedding(1, dtype="float32")
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.weigh = layers.SqueezeExcitation(reduction_ratio)
        self.interact = layers.BilinearInteraction(kernel)
        self.interact_weighted = layers.BilinearInteraction(kernel)
        self.flatten = keras.layers.Flatten()
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout)
        self.click = layers.Click()

    def call(self, batch, training=None):
        first_order = ops.sum(self.linear(batch), axis=1)  # (B, 1)
        x = self.embed(batch)  # (B, F, D)
        products = [self.interact(x), self.interact_weighted(self.weigh(x))]  # each (B, P, D)
        x = self.flatten(ops.concatenate(products, axis=1))
        return self.click([first_order, self.deep(x, training=training)], training=training)
