"""A plain deep network on embeddings. Card: zoo/dnn/README.md."""

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class DNN(CTRModel):
    """A tower on the flat embeddings: `p = σ(b + wᵀ MLP([e_1; …; e_F]))`.

    Args:
        embedding_dim: width `D` of the embeddings.
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("dnn", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Covington et al., "Deep Neural Networks for YouTube Recommendations", RecSys 2016, as the
        BARS benchmark reads it.
    """

    def __init__(
        self,
        embedding_dim=16,
        hidden_units=(400, 400, 400),
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
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        return self.click(self.deep(x, training=training), training=training)
