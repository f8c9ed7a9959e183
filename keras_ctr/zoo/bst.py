"""BST. Card: zoo/bst/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class BST(CTRModel):
    """A Transformer over a history and the target behind it, then a tower over it and all fields.

    The norms stand after the sums; every token is an embedding beside a learned position. Without
    sequences in the data, the tower over all fields is left.

    Args:
        embedding_dim: width `D` of the embeddings, and of a position.
        num_layers: Transformer layers.
        num_heads: attention heads; must divide the width of a token, `2·D` for a history by itself.
        hidden_units: widths of the tower.
        dropout: rate in the Transformer and the tower.
        activation: of the tower.
        readout: what the tower reads of the Transformer: its output at the `"target"`, or the
            `"mean"` of all.
        tower: a layer that replaces the tower, or the name of one with the sizes above: `"mlp"`,
            `"sml"` or `"tabm"`, see `layers.get_tower`.
        groups: names of sequences that tell of the same events, `[["items", "categories"]]`: they
            are put side by side. By default each sequence is read by itself.

    Example:

    >>> model = keras_ctr.zoo.get("bst", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Chen et al., "Behavior Sequence Transformer for E-commerce Recommendation in Alibaba",
        arXiv 1905.06874.
    """

    replaced_by = {"tower": ("hidden_units", "activation")}  # the others also act elsewhere

    def __init__(
        self,
        embedding_dim=16,
        num_layers=1,
        num_heads=8,
        hidden_units=(1024, 512, 256),
        dropout=0.2,
        activation="leaky_relu",
        readout="target",
        tower=None,
        groups=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.readout = readout
        self.groups = groups
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim, pool=None)
        encoder = layers.BehaviorTransformer(
            embedding_dim, num_layers, num_heads, dropout, readout=readout
        )
        self.encode = layers.PerHistory(encoder, groups)
        self.flatten = keras.layers.Flatten()
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        fields, histories = self.embed(batch)  # (B, F, D), [(B, S, D), (B, S)] each
        encoded = self.encode(fields, histories, training=training)  # (B, K + D) each
        x = ops.concatenate([self.flatten(fields), *encoded], axis=-1)
        return self.click(self.deep(x, training=training), training=training)
