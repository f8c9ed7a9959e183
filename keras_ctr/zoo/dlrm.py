"""DLRM. Card: zoo/dlrm/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr._checks import require_choice
from keras_ctr.zoo._base import CTRModel


class DLRM(CTRModel):
    """Quantities become one more vector, then all pairs are multiplied: `MLP([d; ⟨e_i, e_j⟩])`.

    `d = MLP_bottom(values)` stands among the fields `e_i` and once more beside their products.

    Args:
        embedding_dim: width `D` of the embeddings.
        bottom_units: widths of the bottom tower before its last layer, which is `D` wide.
        interaction: `"dot"`, products of all pairs, or `"cat"`, the vectors themselves in a row,
            both of the authors' own code; without quantities the latter is a `dnn`.
        hidden_units: widths of the top tower.
        dropout: rate in the top tower.
        activation: of both towers.
        tower: a layer that replaces the top tower, or the name of one that uses the three arguments
            before it: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("dlrm", embedding_dim=4, bottom_units=[8], hidden_units=[8])
    >>> model.adapt(schema).predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Naumov et al., "Deep Learning Recommendation Model for Personalization and Recommendation
        Systems", arXiv 1906.00091, figure 1.
    """

    replaced_by = {"tower": ("hidden_units", "dropout")}  # the others also act elsewhere

    def __init__(
        self,
        embedding_dim=16,
        bottom_units=(512, 256, 64),
        interaction="dot",
        hidden_units=(512, 256),
        dropout=0.0,
        activation="relu",
        tower=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_choice(("dot", "cat"), interaction=interaction)
        self.embedding_dim = embedding_dim
        self.bottom_units = bottom_units
        self.interaction = interaction
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.tower = tower
        self.bottom = layers.MLP([*bottom_units, embedding_dim], activation)
        self.embed = layers.CategoricalEmbedding(embedding_dim)
        self.combine = layers.DotInteraction() if interaction == "dot" else keras.layers.Flatten()
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        dense = [batch["values"]] if self.schema.numerics else []
        dense += [batch[vector.name] for vector in self.schema.vectors]
        if not dense:
            self.bottom.built = True  # or Keras warns that it never will be
            return self.click(self.deep(self.combine(x), training=training), training=training)
        dense = self.bottom(ops.concatenate(dense, axis=-1), training=training)  # (B, D)
        x = self.combine(ops.concatenate([dense[:, None], x], axis=1))
        if self.interaction == "dot":
            x = ops.concatenate([dense, x], axis=-1)
        return self.click(self.deep(x, training=training), training=training)
