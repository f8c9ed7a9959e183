"""Wide & Deep. Card: zoo/wide_deep/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class WideDeep(CTRModel):
    """A linear model that memorises beside a tower that generalises: `p = σ(y_wide + y_deep)`.

    Args:
        embedding_dim: width `D` of the embeddings.
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("wide_deep", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Cheng et al., "Wide & Deep Learning for Recommender Systems", arXiv 1606.07792, eq. (3).
    """

    def __init__(
        self,
        embedding_dim=32,
        hidden_units=(1024, 512, 256),
        dropout=0.0,
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
        self.wide = layers.FeatureEmbedding(1, dtype="float32")
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout)
        self.click = layers.Click()

    def call(self, batch, training=None):
        wide = ops.sum(self.wide(batch), axis=1)  # (B, 1)
        x = self.embed(batch)  # (B, F, D)
        return self.click([wide, self.deep(x, training=training)], training=training)
