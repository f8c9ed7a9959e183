"""DCN. Card: zoo/dcn/README.md."""

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class DCN(CTRModel):
    """A cross network of vectors beside a tower: `p = σ(b + w_cᵀ x_L + w_dᵀ MLP(x_0))`.

    Args:
        embedding_dim: width `D` of the embeddings.
        num_layers: number of cross layers `L`.
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("dcn", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Wang et al., "Deep & Cross Network for Ad Click Predictions", arXiv 1708.05123, figure 1
        and eq. (3).
    """

    def __init__(
        self,
        embedding_dim=16,
        num_layers=6,
        hidden_units=(1024, 1024),
        dropout=0.0,
        activation="relu",
        tower=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.num_layers = num_layers
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.cross = layers.CrossVector(num_layers)
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        return self.click([self.cross(x), self.deep(x, training=training)], training=training)
