"""RankMixer. Card: zoo/rankmixer/README.md."""

import keras

from keras_ctr import layers
from keras_ctr._checks import require_divisor, require_positive
from keras_ctr.layers import residuals
from keras_ctr.zoo._base import CTRModel


class RankMixer(CTRModel):
    """Tokens exchange parts without any weights, then each has a feed-forward network of its own.

    `S = LN(TokenMix(X) + X)`, `X' = LN(PFFN(S) + S)`: `TokenMix` cuts every token into as many
    parts as there are tokens and joins equal parts. The logit reads the mean of the tokens.
    Histories are pooled.

    Args:
        embedding_dim: width of the embeddings.
        token_dim: token width `D`, a multiple of `num_tokens`.
        num_tokens: number of tokens `T`, and of parts a token is cut into (the paper's `H = T`).
        num_layers: number of blocks `L`.
        expansion: hidden width of the feed-forward networks over `D`, the paper's `k`. It is not
            reliably known; 3 fits both sizes the paper reports.
        dropout: rate on every increment; not in the paper.
        activation: of the feed-forward networks.
        residual: how mixing and feed-forward steps are connected, an object of `layers.residuals`.
            Default `PostNorm(dropout)`, the paper's. With any other, every step is Pre-Norm
            (RMSNorm) and a last RMSNorm follows.
        norm: pattern of the norms before units and of the last one, such as `layers.SeeDNorm()`.
            `None`: RMSNormalization.

    Example:

    >>> model = keras_ctr.zoo.get("rankmixer", token_dim=8, num_tokens=4).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        "RankMixer", arXiv 2507.15551. Its widths are 768 and 1536; the default is ours.
    """

    def __init__(
        self,
        embedding_dim=16,
        token_dim=64,
        num_tokens=8,
        num_layers=2,
        expansion=3,
        dropout=0.0,
        activation="gelu",
        residual=None,
        norm=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_divisor("`token_dim` =", token_dim, num_tokens=num_tokens)
        require_positive(num_layers=num_layers)
        self.embedding_dim = embedding_dim
        self.token_dim = token_dim
        self.num_tokens = num_tokens
        self.num_layers = num_layers
        self.expansion = expansion
        self.dropout = dropout
        self.activation = activation
        self.residual = residual
        self.norm = norm
        self.depth = layers.copy_of(residual or residuals.PostNorm(dropout))
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.tokenize = layers.SliceTokenizer(num_tokens, token_dim)
        units = []
        for _ in range(num_layers):
            units.append(layers.TokenMixing(num_tokens))
            units.append(layers.FeedForward(expansion, own_tokens=None, activation=activation))
        self.last_norm = None
        if isinstance(self.depth, residuals.PostNorm):
            if norm is not None:
                raise ValueError(
                    "`norm` is for Pre-Norm units, `residuals.PostNorm` has norms of its own: give "
                    f"another `residual`, such as `residuals.Identity()`. Received: norm={norm}"
                )
        else:
            units = [layers.PreNorm(unit, dropout, norm) for unit in units]
            self.last_norm = layers.get_norm(norm)
        self.stack = layers.Stack(units, self.depth)
        self.pool = keras.layers.GlobalAveragePooling1D()
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.tokenize(self.embed(batch))  # (B, T, D)
        x = self.stack(x, training=training)
        x = x if self.last_norm is None else self.last_norm(x)
        return self.click(self.pool(x))
