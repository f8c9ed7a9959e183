"""AutoInt+. Card: zoo/autoint_plus/README.md."""

import keras

from keras_ctr import layers
from keras_ctr._checks import require_positive
from keras_ctr.zoo._base import CTRModel


class AutoIntPlus(CTRModel):
    """AutoInt beside a tower: `p = σ(b + w_aᵀ [ê_1; …; ê_F] + w_dᵀ MLP([e_1; …; e_F]))`.

    Args:
        embedding_dim: width `D` of the embeddings (the paper's `d`).
        attention_dim: width after each layer, all heads together (the paper's `d'·H`).
        num_layers: number of interacting layers.
        num_heads: heads `H` per layer; must divide `attention_dim`.
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("autoint_plus", embedding_dim=4, attention_dim=8)
    >>> model.adapt(schema).predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Song et al., "AutoInt", arXiv 1810.11921: integrating implicit interactions.
    """

    def __init__(
        self,
        embedding_dim=16,
        attention_dim=64,
        num_layers=3,
        num_heads=2,
        hidden_units=(400, 400),
        dropout=0.0,
        activation="relu",
        tower=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(num_layers=num_layers)
        self.embedding_dim = embedding_dim
        self.attention_dim = attention_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.interact = [layers.FieldAttention(attention_dim, num_heads) for _ in range(num_layers)]
        self.flatten = keras.layers.Flatten()
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        deep = self.deep(x, training=training)
        for layer in self.interact:
            x = layer(x)  # (B, F, attention_dim)
        return self.click([self.flatten(x), deep], training=training)
