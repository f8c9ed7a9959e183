"""GDCN. Card: zoo/gdcn/README.md."""

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class GDCN(CTRModel):
    """A gated cross network beside a tower: `p = σ(b + w_cᵀ c_L + w_dᵀ MLP(c_0))` (GDCN-P).

    Args:
        embedding_dim: width `D` of the embeddings.
        num_layers: number of gated cross layers `L`.
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("gdcn", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Wang et al., "Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction",
        CIKM 2023; code anonctr/GDCN.
    """

    def __init__(
        self,
        embedding_dim=16,
        num_layers=3,
        hidden_units=(400, 400, 400),
        dropout=0.5,
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
        self.cross = layers.GatedCross(num_layers)
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        return self.click([self.cross(x), self.deep(x, training=training)], training=training)
