"""AFN. Card: zoo/afn/README.md."""

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class AFN(CTRModel):
    """A tower on feature products whose orders are learned: `p = σ(b + wᵀ MLP(Π_i |e_i|^w_in))`.

    Args:
        embedding_dim: width `D` of the embeddings (the paper's `k`).
        num_neurons: number of logarithmic neurons (the paper's `N`).
        hidden_units: widths of the tower's layers.
        dropout: rate in the tower.
        activation: of the tower.
        tower: a layer that replaces the tower; the three arguments before it are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.
        embeddings_initializer: of the embeddings, a Keras initializer or its name. The default is
            that of the authors' code: batch norm's moving moments follow the logarithms of smaller
            embeddings only slowly.
        orders_initializer: of the orders `w`. `None`: normal with standard deviation 0.1, as in the
            authors' code.

    Example:

    >>> model = keras_ctr.zoo.get("afn", embedding_dim=4, num_neurons=5, hidden_units=[8])
    >>> model.adapt(schema).predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Cheng et al., "Adaptive Factorization Network: Learning Adaptive-Order Feature
        Interactions", AAAI 2020.
    """

    def __init__(
        self,
        embedding_dim=10,
        num_neurons=1500,
        hidden_units=(400, 400, 400),
        dropout=0.0,
        activation="relu",
        tower=None,
        embeddings_initializer="glorot_normal",
        orders_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.num_neurons = num_neurons
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.embeddings_initializer = embeddings_initializer
        self.orders_initializer = orders_initializer
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim, initializer=embeddings_initializer)
        self.transform = layers.LogarithmicTransform(num_neurons, orders_initializer)
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        x = self.transform(x, training=training)  # (B, num_neurons, D)
        return self.click(self.deep(x, training=training), training=training)
