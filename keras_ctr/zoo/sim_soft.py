"""SIM with soft search. Card: zoo/sim_soft/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr._checks import require_not_negative
from keras_ctr.losses import LogLoss
from keras_ctr.zoo._base import CTRModel


class SIMSoft(CTRModel):
    """Of a long history, the target finds the `k` nearest events and attends to those alone.

    Search: `r_s = (W_a t)ᵀ W_b e_s`, the `k` largest. Then multi-head attention over what was
    found, target attention over the newest events, and a tower over both and all fields. In
    training a second tower reads `Σ_s r_s e_s` instead, which is what teaches the search: the loss
    is `BCE(p, y) + α BCE(p_search, y)`. Without sequences in the data, the tower over all fields is
    left.

    Args:
        embedding_dim: width `D` of the embeddings.
        top_k: events found, at most all.
        num_recent: newest events that make the short-term interest, at most all.
        attention_dim: width in which search and heads compare.
        num_heads: attention heads over the events found.
        hidden_units: widths of the tower.
        dropout: rate in the tower.
        activation: of the tower, the name of a Keras activation, or `"dice"`.
        aux_weight: weight `α` of the search's own loss. 0: the search stays as it was drawn.
        tower: a layer that replaces the tower, or the name of one with the sizes above: `"mlp"`,
            `"sml"` or `"tabm"`, see `layers.get_tower`. The search's tower is always an MLP of
            those sizes.
        groups: names of sequences that tell of the same events, `[["items", "categories"]]`: they
            are put side by side. By default each sequence is read by itself.

    Example:

    >>> model = keras_ctr.zoo.get("sim_soft", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Pi et al., "Search-based User Interest Modeling with Lifelong Sequential Behavior Data for
        Click-Through Rate Prediction", arXiv 2006.05639. Sizes are FuxiCTR's.
    """

    replaced_by = {"tower": ()}  # the others also act elsewhere

    others_are_clicks = True

    def __init__(
        self,
        embedding_dim=10,
        top_k=50,
        num_recent=50,
        attention_dim=64,
        num_heads=1,
        hidden_units=(512, 128, 64),
        dropout=0.0,
        activation="relu",
        aux_weight=1.0,
        tower=None,
        groups=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_not_negative(aux_weight=aux_weight)
        self.embedding_dim = embedding_dim
        self.top_k = top_k
        self.num_recent = num_recent
        self.attention_dim = attention_dim
        self.num_heads = num_heads
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.aux_weight = aux_weight
        self.groups = groups
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim, pool=None)
        interest = layers.SearchedInterest(top_k, num_recent, attention_dim, num_heads)
        self.search = layers.PerHistory(interest, groups)
        self.flatten = keras.layers.Flatten()
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()
        self.search_tower = layers.MLP(hidden_units, activation, dropout) if aux_weight else None
        self.search_click = layers.Click() if aux_weight else None

    def call(self, batch, training=None):
        """Returns `(B, 1)`; in training the search's probability follows: `(B, 2)`."""
        fields, histories = self.embed(batch)  # (B, F, D), [(B, S, D), (B, S)] each
        found = self.search(fields, histories, training=training)  # (B, H·K + K), (B, K) each
        fields = self.flatten(fields)
        x = ops.concatenate([fields, *(interest for interest, _ in found)], axis=-1)
        click = self.click(self.deep(x, training=training), training=training)
        if not found and self.aux_weight:
            self.search_tower.built = self.search_click.built = True  # or Keras warns: it never is
        # The search's tower runs in training, and once before, so that its weights are there.
        if found and self.aux_weight and (training or not self.search_tower.built):
            x = ops.concatenate([fields, *(pooled for _, pooled in found)], axis=-1)
            search = self.search_click(self.search_tower(x, training=training))
            if training:
                return ops.concatenate([click, search], axis=-1)
        return click

    def auxiliary_loss(self, y, click, others, sample_weight):
        return self.aux_weight * LogLoss()(y, others, sample_weight)
