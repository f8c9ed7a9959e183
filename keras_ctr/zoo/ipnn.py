"""Inner product-based neural network. Card: zoo/ipnn/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class IPNN(CTRModel):
    """A tower that reads the embeddings and their products: `MLP([e; ⟨e_i, e_j⟩ for i < j])`.

    Args:
        embedding_dim: width `D` of the embeddings (the paper's `M`).
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("ipnn", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Qu et al., "Product-based Neural Networks for User Response Prediction", arXiv 1611.00144.
    """

    def __init__(
        self,
        embedding_dim=10,
        hidden_units=(400, 400, 400),
        dropout=0.5,
        activation="relu",
        tower=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.interact = layers.DotInteraction()
        self.flatten = keras.layers.Flatten()
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        products = self.interact(x)  # (B, P)
        x = ops.concatenate([self.flatten(x), products], axis=-1)
        return self.click(self.deep(x, training=training), training=training)
