"""DIN. Card: zoo/din/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class DIN(CTRModel):
    """A history becomes one vector, in which the events count that matter to the target.

    `v = Σ_s a(e_s, t) e_s` with a small network `a` of event and target, then a tower over all
    fields and `v`. The order of events has no part in it. Without sequences in the data, the tower
    over all fields is left.

    The target of a history is the column it is `of`, see `layers.PerHistory`. The paper's
    mini-batch aware regularisation is `compile(batch_l2=…)`.

    Args:
        embedding_dim: width `D` of the embeddings.
        hidden_units: widths of the tower.
        dropout: rate in the tower.
        activation: of the tower, the name of a Keras activation, or `"dice"`.
        attention: the activation unit, a pattern that every history gets a copy of; default
            `TargetAttention()`.
        tower: a layer that replaces the tower, or the name of one with the sizes above: `"mlp"`,
            `"sml"` or `"tabm"`, see `layers.get_tower`.
        groups: names of sequences that tell of the same events, `[["items", "categories"]]`: they
            are put side by side. By default each sequence is read by itself.

    Example:

    >>> model = keras_ctr.zoo.get("din", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", arXiv 1706.06978.
    """

    def __init__(
        self,
        embedding_dim=12,
        hidden_units=(200, 80),
        dropout=0.0,
        activation="dice",
        attention=None,
        tower=None,
        groups=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.attention = attention
        self.groups = groups
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim, pool=None)
        self.attend = layers.PerHistory(attention or layers.TargetAttention(), groups)
        self.flatten = keras.layers.Flatten()
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()

    def shares_histories(self, differing):
        """The attention of many targets to one history is one product."""
        return isinstance(self.attend.layer, layers.TargetAttention)

    def call(self, batch, training=None):
        fields, histories = self.embed(batch)  # (B, F, D), [(B, S, D), (B, S)] each
        interests = self.attend(fields, histories, training=training)  # (B, K) each
        x = ops.concatenate([self.flatten(fields), *interests], axis=-1)
        return self.click(self.deep(x, training=training), training=training)
