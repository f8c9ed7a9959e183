"""TransAct. Card: zoo/transact/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class TransAct(CTRModel):
    """A Transformer over events that each have the target beside them, below a DCN-V2.

    `x_s = [e_s; t]`, a Post-Norm Transformer, of which the newest outputs and a projected maximum
    are read; together with all fields they enter a cross network beside a tower. Without sequences
    in the data, the DCN-V2 is left.

    Args:
        embedding_dim: width `D` of the embeddings.
        num_layers: Transformer layers.
        num_heads: attention heads; must divide the width of a token, `2·D` for a history by itself.
        feed_forward_units: width of the hidden layer in the Transformer's feed-forward parts.
        num_recent: newest outputs that are read one by one, the paper's `K`; at most all.
        hide_recent: in training, up to so many of the newest events count as padding, see
            `layers.ActionTransformer`. 0: none.
        num_cross_layers: layers of the cross network.
        hidden_units: widths of the tower.
        dropout: rate in the Transformer and the tower.
        activation: of the tower.
        tower: a layer that replaces the tower, or the name of one with the sizes above: `"mlp"`,
            `"sml"` or `"tabm"`, see `layers.get_tower`.
        groups: names of sequences that tell of the same events, `[["items", "categories"]]`: they
            are put side by side. By default each sequence is read by itself.

    Example:

    >>> model = keras_ctr.zoo.get("transact", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Xia et al., "TransAct: Transformer-based Realtime User Action Model for Recommendation at
        Pinterest", arXiv 2306.00248. Sizes of the Transformer are those of the authors' code, of
        the DCN-V2 those of FuxiCTR.
    """

    replaced_by = {"tower": ("hidden_units", "activation")}  # the others also act elsewhere

    def __init__(
        self,
        embedding_dim=32,
        num_layers=2,
        num_heads=2,
        feed_forward_units=32,
        num_recent=10,
        hide_recent=0,
        num_cross_layers=3,
        hidden_units=(256, 128, 64),
        dropout=0.0,
        activation="relu",
        tower=None,
        groups=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.num_recent = num_recent
        self.hide_recent = hide_recent
        self.num_cross_layers = num_cross_layers
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.groups = groups
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim, pool=None)
        encoder = layers.ActionTransformer(
            num_layers, num_heads, feed_forward_units, num_recent, hide_recent, dropout
        )
        self.encode = layers.PerHistory(encoder, groups)
        self.flatten = keras.layers.Flatten()
        self.cross = layers.Cross(num_cross_layers)
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout)
        self.click = layers.Click()

    def call(self, batch, training=None):
        fields, histories = self.embed(batch)  # (B, F, D), [(B, S, D), (B, S)] each
        encoded = self.encode(fields, histories, training=training)  # (B, (K + 1)·2·D) each
        x = ops.concatenate([self.flatten(fields), *encoded], axis=-1)
        return self.click([self.cross(x), self.deep(x, training=training)], training=training)
