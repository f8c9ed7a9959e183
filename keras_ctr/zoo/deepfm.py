"""DeepFM. Card: zoo/deepfm/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class DeepFM(CTRModel):
    """A factorization machine and a tower on the same embeddings: `p = σ(y_FM + y_DNN)`.

    Args:
        embedding_dim: width `D` of the embeddings (the paper's `k`).
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("deepfm", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Guo et al., "DeepFM", arXiv 1703.04247, eqs. (1) to (4).
    """

    def __init__(
        self,
        embedding_dim=10,
        hidden_units=(400, 400, 400),
        dropout=0.5,
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
        self.linear = layers.FeatureEmbedding(1, dtype="float32")
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.interact = layers.FactorizationMachine()
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout)
        self.click = layers.Click()

    def call(self, batch, training=None):
        first_order = ops.sum(self.linear(batch), axis=1)  # (B, 1)
        x = self.embed(batch)  # (B, F, D)
        return self.click(
            [first_order, self.interact(x), self.deep(x, training=training)], training=training
        )
