"""Wukong. Card: zoo/wukong/README.md."""

import keras

from keras_ctr import layers
from keras_ctr._checks import require_positive
from keras_ctr.zoo._base import CTRModel


class Wukong(CTRModel):
    """Stacked factorization machines: each layer doubles the order of the interactions.

    `X_{l+1} = LN([FMB(X_l); W_L X_l] + R(X_l))`, then a tower over all vectors.

    The shortcut `R` stands before the norm and may change the number of vectors, so this model
    takes no `residual`.

    Args:
        embedding_dim: width `D` of the embeddings (the paper's `d`) and of every vector after.
        num_layers: number of interaction layers `l`.
        fm_tokens: vectors per layer from factorization machines, the paper's `n_F`.
        linear_tokens: vectors per layer from linear compression, the paper's `n_L`.
        rank: width `k` to which the pairwise products are compressed.
        fm_units: widths of the MLP in each factorization machine block.
        hidden_units: widths of the tower.
        dropout: rate in the blocks' MLPs and in the tower.
        tower: a layer that replaces the tower, or the name of one with those widths and dropout:
            `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("wukong", fm_tokens=4, linear_tokens=4, fm_units=[8])
    >>> model.adapt(schema).predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Zhang et al., "Wukong: Towards a Scaling Law for Large-Scale Recommendation", arXiv
        2403.02545. Defaults of the layers are FuxiCTR's.
    """

    replaced_by = {"tower": ("hidden_units",)}  # the others also act elsewhere

    def __init__(
        self,
        embedding_dim=16,
        num_layers=3,
        fm_tokens=40,
        linear_tokens=40,
        rank=8,
        fm_units=(512, 256),
        hidden_units=(400, 400, 400),
        dropout=0.0,
        tower=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(num_layers=num_layers)
        self.embedding_dim = embedding_dim
        self.num_layers = num_layers
        self.fm_tokens = fm_tokens
        self.linear_tokens = linear_tokens
        self.rank = rank
        self.fm_units = fm_units
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim)
        # Our choice: products of embeddings that start at 1e-4 would vanish beside LN's epsilon.
        self.norm = keras.layers.RMSNormalization(axis=[1, 2])
        self.interact = [
            layers.WukongLayer(fm_tokens, linear_tokens, rank, fm_units, dropout)
            for _ in range(num_layers)
        ]
        self.deep = layers.get_tower(tower, hidden_units, dropout=dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.norm(self.embed(batch))  # (B, F, D)
        for layer in self.interact:
            x = layer(x, training=training)  # (B, n_F + n_L, D)
        return self.click(self.deep(x, training=training), training=training)
