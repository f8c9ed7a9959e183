"""xDeepFM. Card: zoo/xdeepfm/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class XDeepFM(CTRModel):
    """A linear model, a compressed interaction network and a tower: `σ(y_lin + y_CIN + y_DNN)`.

    Args:
        embedding_dim: width `D` of the embeddings.
        cin_units: number of vectors `H_k` of each layer of the compressed interaction network.
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("xdeepfm", embedding_dim=4, cin_units=[5], hidden_units=[8])
    >>> model.adapt(schema).predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Lian et al., "xDeepFM", arXiv 1803.05170, figure 5.
    """

    def __init__(
        self,
        embedding_dim=10,
        cin_units=(200, 200, 200),
        hidden_units=(400, 400, 400),
        dropout=0.5,
        activation="relu",
        tower=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.cin_units = cin_units
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.tower = tower
        self.linear = layers.FeatureEmbedding(1, dtype="float32")
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.interact = layers.CompressedInteraction(cin_units)
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout)
        self.click = layers.Click()

    def call(self, batch, training=None):
        first_order = ops.sum(self.linear(batch), axis=1)  # (B, 1)
        x = self.embed(batch)  # (B, F, D)
        return self.click(
            [first_order, self.interact(x), self.deep(x, training=training)], training=training
        )
