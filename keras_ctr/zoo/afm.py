"""Attentional factorization machine. Card: zoo/afm/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class AFM(CTRModel):
    """Attention decides which pairs count: `p = σ(b + Σ_i w_i + pᵀ Σ_{i<j} a_ij e_i ⊙ e_j)`.

    Args:
        embedding_dim: width `D` of the factors `e_i` (the paper's `k`).
        attention_dim: width of the attention network (the paper's `t`).
        dropout: rate on the pooled vector.
        attention_dropout: rate on the attention weights `a`.

    Example:

    >>> model = keras_ctr.zoo.get("afm", embedding_dim=4).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Xiao et al., "Attentional Factorization Machines", IJCAI 2017, eq. (6).
    """

    def __init__(
        self, embedding_dim=256, attention_dim=8, dropout=0.5, attention_dropout=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.attention_dim = attention_dim
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.linear = layers.FeatureEmbedding(1, dtype="float32")
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.interact = layers.AttentionalFactorizationMachine(
            attention_dim, dropout, attention_dropout
        )
        self.click = layers.Click()

    def call(self, batch, training=None):
        first_order = ops.sum(self.linear(batch), axis=1)  # (B, 1)
        pooled = self.interact(self.embed(batch), training=training)  # (B, D)
        return self.click([first_order, pooled])
