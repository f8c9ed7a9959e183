"""HiFormer. Card: zoo/hiformer/README.md."""

import keras

from keras_ctr import layers
from keras_ctr._checks import require_divisor, require_positive
from keras_ctr.zoo._base import CTRModel


class HiFormer(CTRModel):
    """A Transformer over fields in which every field has its own projections and feed-forward part.

    `x_i' = x_i + W^O_i·Attention(W^Q_i x_i, K, V)` with composite keys and values,
    `K = reshape(flatten(X)·A·B)`: they already combine fields before anything is attended to. The
    logit reads a task token, the only one that asks in the last layer.

    Unlike the paper, norms come first (`x + f(RMSNorm(x))` instead of `LN(x + f(x))`), so that
    layers can be connected by any residual.

    Args:
        embedding_dim: width of the embeddings.
        token_dim: token width `D`; `num_heads` must divide it.
        num_layers: number of Transformer layers.
        num_heads: attention heads `H`.
        rank: rank `r` of the composite projections. `None`: keys and values of each field from
            that field alone, the paper's heterogeneous attention layer.
        dropout: rate on every increment.
        residual: how layers are connected, an object of `layers.residuals`; default `Identity()`.
        norm: pattern of the norms before units and of the last one, such as `layers.SeeDNorm()`.
            `None`: RMSNormalization.

    Example:

    >>> model = keras_ctr.zoo.get("hiformer", token_dim=8, num_layers=2, rank=4).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Gui et al., "Hiformer: Heterogeneous Feature Interactions Learning with Transformers for
        Recommender Systems", arXiv 2311.05884. Sizes are ours.
    """

    rules = {"rank": None}  # `None` passes: the attention layer checks it

    def __init__(
        self,
        embedding_dim=16,
        token_dim=64,
        num_layers=3,
        num_heads=4,
        rank=32,
        dropout=0.0,
        residual=None,
        norm=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(num_layers=num_layers)
        require_divisor("`token_dim` =", token_dim, num_heads=num_heads)
        self.embedding_dim = embedding_dim
        self.token_dim = token_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.rank = rank
        self.dropout = dropout
        self.residual = residual
        self.norm = norm
        self.depth = layers.copy_of(residual or layers.residuals.Identity())
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.tokenize = layers.FieldTokenizer(token_dim)
        keeps = [None] * (num_layers - 1) + [1]  # in the last layer only the task token asks
        units = [
            layers.Serial(
                [
                    layers.PreNorm(
                        layers.HeterogeneousAttention(num_heads, rank, keep), dropout, norm
                    ),
                    layers.PreNorm(layers.FeedForward(own_tokens=None), dropout, norm),
                ]
            )
            for keep in keeps
        ]
        self.stack = layers.Stack(units, self.depth)
        self.last_norm = layers.get_norm(norm)
        self.flatten = keras.layers.Flatten()
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D_e)
        x = self.tokenize(x)  # (B, F + 1, D)
        x = self.stack(x, training=training)  # (B, 1, D)
        return self.click(self.flatten(self.last_norm(x)))
