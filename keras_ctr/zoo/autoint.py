"""AutoInt. Card: zoo/autoint/README.md."""

import keras

from keras_ctr import layers
from keras_ctr._checks import require_positive
from keras_ctr.zoo._base import CTRModel


class AutoInt(CTRModel):
    """Layers of self-attention over fields: `p = σ(b + wᵀ [ê_1; …; ê_F])`.

    Args:
        embedding_dim: width `D` of the embeddings (the paper's `d`).
        attention_dim: width after each layer, all heads together (the paper's `d'·H`).
        num_layers: number of interacting layers.
        num_heads: heads `H` per layer; must divide `attention_dim`.

    Example:

    >>> model = keras_ctr.zoo.get("autoint", embedding_dim=4, attention_dim=8).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Song et al., "AutoInt", arXiv 1810.11921, figure 1 and eqs. (5) to (9).
    """

    def __init__(self, embedding_dim=16, attention_dim=64, num_layers=3, num_heads=2, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_layers=num_layers)
        self.embedding_dim = embedding_dim
        self.attention_dim = attention_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.interact = [layers.FieldAttention(attention_dim, num_heads) for _ in range(num_layers)]
        self.flatten = keras.layers.Flatten()
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        for layer in self.interact:
            x = layer(x)  # (B, F, attention_dim)
        return self.click(self.flatten(x))
