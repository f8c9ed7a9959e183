"""DIEN. Card: zoo/dien/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr._checks import require_not_negative
from keras_ctr.zoo._base import CTRModel


class DIEN(CTRModel):
    """A history becomes the last state of an interest that evolves towards the target.

    `h = GRU(e)`, `a = softmax_t(h_tᵀ W t)`, `h'_t = h'_{t-1} + a_t u_t ⊙ (n_t - h'_{t-1})`, then a
    tower over all fields and the last `h'`. In training an auxiliary loss asks every `h_t` to tell
    the next event from another row's, see `layers.InterestEvolution`. Without sequences in the
    data, the tower over all fields is left.

    Args:
        embedding_dim: width `D` of the embeddings.
        hidden_units: widths of the tower.
        dropout: rate in the tower.
        activation: of the tower, the name of a Keras activation, or `"dice"`.
        attention: a pattern that every history gets a copy of; default `BilinearAttention()`. BARS
            takes `TargetAttention(…, softmax=True)`; without softmax the state would be unbounded.
        aux_weight: weight `α` of the auxiliary loss. 0: none.
        tower: a layer that replaces the tower, or the name of one with the sizes above: `"mlp"`,
            `"sml"` or `"tabm"`, see `layers.get_tower`.
        groups: names of sequences that tell of the same events, `[["items", "categories"]]`: they
            are put side by side. By default each sequence is read by itself.

    Example:

    >>> model = keras_ctr.zoo.get("dien", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Zhou et al., "Deep Interest Evolution Network for Click-Through Rate Prediction", arXiv
        1809.03672.
    """

    moved = {"evolve/layer/attention": "attention"}

    def __init__(
        self,
        embedding_dim=18,
        hidden_units=(200, 80),
        dropout=0.0,
        activation="dice",
        attention=None,
        aux_weight=1.0,
        tower=None,
        groups=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_not_negative(aux_weight=aux_weight)
        self.embedding_dim = embedding_dim
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.aux_weight = aux_weight
        self.attention = attention
        self.groups = groups
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim, pool=None)
        evolution = layers.InterestEvolution(attention, auxiliary=aux_weight > 0)
        self.evolve = layers.PerHistory(evolution, groups)
        self.flatten = keras.layers.Flatten()
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        """Returns `(B, 1)`; in training the auxiliary loss per row and its events: `(B, 3)`."""
        fields, histories = self.embed(batch)  # (B, F, D), [(B, S, D), (B, S)] each
        interests = self.evolve(fields, histories, training=training)  # (B, K) each
        auxiliary = []
        if training and self.evolve.layer.auxiliary and interests:
            interests, auxiliary = zip(*interests, strict=True)
        x = ops.concatenate([self.flatten(fields), *interests], axis=-1)
        click = self.click(self.deep(x, training=training), training=training)
        return ops.concatenate([click, sum(auxiliary)], axis=-1) if auxiliary else click

    def auxiliary_loss(self, y, click, others, sample_weight):
        total, events = ops.unstack(others, 2, axis=1)
        if sample_weight is not None:
            total = total * ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        return self.aux_weight * ops.sum(total) / ops.maximum(ops.sum(events), 1.0)
