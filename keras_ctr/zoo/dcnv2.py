"""DCN-V2. Card: zoo/dcnv2/README.md."""

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class DCNV2(CTRModel):
    """A cross network beside a tower: `p = σ(b + w_cᵀ x_L + w_dᵀ MLP(x_0))`, the parallel form.

    Args:
        embedding_dim: width `D` of the embeddings.
        num_layers: number of cross layers `L_c`.
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.
        cross: a layer that replaces the cross network, `layers.CrossMixture(...)` for one with
            low-rank kernels; `num_layers` is then unused.

    Example:

    >>> model = keras_ctr.zoo.get("dcnv2", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Wang et al., "DCN V2", arXiv 2008.13535, figure 1b and eq. (1).
    """

    moved = {"cross_network": "cross"}
    replaced_by = {"tower": layers.TOWER_ARGUMENTS, "cross": ("num_layers",)}

    def __init__(
        self,
        embedding_dim=16,
        num_layers=3,
        hidden_units=(400, 400, 400),
        dropout=0.0,
        activation="relu",
        tower=None,
        cross=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.num_layers = num_layers
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.tower = tower
        self.cross = cross
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.cross_network = layers.copy_of(cross or layers.Cross(num_layers))
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        return self.click(
            [self.cross_network(x), self.deep(x, training=training)], training=training
        )
