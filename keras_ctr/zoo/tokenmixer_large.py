"""TokenMixer-Large. Card: zoo/tokenmixer_large/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr._checks import (
    require_choice,
    require_divisor,
    require_not_negative,
    require_positive,
)
from keras_ctr.layers import residuals
from keras_ctr.losses import LogLoss
from keras_ctr.zoo._base import CTRModel


class TokenMixerLarge(CTRModel):
    """Tokens are mixed, transformed, and put back where they were, so that layers can be stacked.

    `R = Revert(H + pSwiGLU(RMSNorm(H)))` with `H = Mix(X)`, then
    `X' = X + pSwiGLU(RMSNorm(R))`: the second residual adds the block's input. Every network is
    one token's own, and its last matrix starts near zero. One of the tokens is made from all
    fields, the others from slices. Histories are pooled.

    Args:
        embedding_dim: width of the embeddings.
        token_dim: token width `D`; `num_heads` must divide it.
        num_tokens: number of tokens `T`, the global one included.
        num_layers: number of blocks `L`.
        num_heads: parts `H` a token is cut into; need not be `T`.
        feed_forward: layer that is copied to every place of a pSwiGLU. Default
            `PerTokenSwiGLU(2, use_bias=False, down_scale=0.01)`; with a `router=ExpertRouter(…)` it
            is the paper's sparse mixture of experts.
        dropout: rate after each pSwiGLU.
        readout: `"mean"` of all tokens, or the `"global"` token alone.
        aux_weight: weight `λ` of the log loss of a head on each lower layer, in training. 0: no
            such heads. The paper has them, but not its `λ`; one repository takes 0.1.
        residual: how units are connected, an object of `layers.residuals`. Default
            `InterLayer()`, every two layers.
        norm: pattern of the norms before units and of the last one, such as `layers.SeeDNorm()`.
            `None`: RMSNormalization.
        granularity: a unit is a `"layer"` (default), or a `"sublayer"`: then `X' = R + …`, the
            other reading of the paper, where the mixed branch is added as well.

    Example:

    >>> model = keras_ctr.zoo.get("tokenmixer_large", token_dim=8, num_layers=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        "TokenMixer-Large", arXiv 2602.06563, eqs. (12) and (16) as quoted by others: we could read
        its abstract only. Its sizes are not public.
    """

    moved = {"feed": "feed_forward"}

    others_are_clicks = True

    def __init__(
        self,
        embedding_dim=16,
        token_dim=64,
        num_tokens=9,
        num_layers=4,
        num_heads=8,
        feed_forward=None,
        dropout=0.0,
        readout="mean",
        aux_weight=0.0,
        residual=None,
        norm=None,
        granularity="layer",
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_not_negative(aux_weight=aux_weight)
        if num_tokens < 2:
            raise ValueError(
                "`num_tokens` must be at least 2, a global token and one more. "
                f"Received: num_tokens={num_tokens}"
            )
        require_positive(num_layers=num_layers)
        require_divisor("`token_dim` =", token_dim, num_heads=num_heads)
        require_choice(("mean", "global"), readout=readout)
        require_choice(("layer", "sublayer"), granularity=granularity)
        self.embedding_dim = embedding_dim
        self.token_dim = token_dim
        self.num_tokens = num_tokens
        self.num_layers = num_layers
        self.num_heads = num_heads
        pattern = feed_forward or layers.PerTokenSwiGLU(2, use_bias=False, down_scale=0.01)
        networks = layers.copies(pattern, 2 * num_layers)
        self.feed = networks[0]
        self.feed_forward = feed_forward
        self.dropout = dropout
        self.readout = readout
        self.aux_weight = aux_weight
        self.per_layer = 2 if granularity == "sublayer" else 1
        self.residual = residual
        self.norm = norm
        self.granularity = granularity
        self.depth = layers.copy_of(residual or residuals.InterLayer(every=2 * self.per_layer))
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.summarize = layers.AutoSplitTokenizer(1, token_dim)
        self.tokenize = layers.SliceTokenizer(num_tokens - 1, token_dim)
        units = []
        for mixed, own in zip(networks[::2], networks[1::2], strict=True):
            mixed = layers.MixAndRevert(layers.PreNorm(mixed, dropout, norm), num_heads)
            own = layers.PreNorm(own, dropout, norm)
            units += [mixed, own] if granularity == "sublayer" else [layers.Nested(mixed, own)]
        self.stack = layers.TappedStack(units, self.depth)
        self.last_norm = layers.get_norm(norm)
        self.click = layers.Click()
        self.lower_clicks = [layers.Click() for _ in range(num_layers - 1) if aux_weight]

    def call(self, batch, training=None):
        """Returns `(B, 1)`; in training the lower layers' probabilities follow: `(B, L)`."""
        x = self.embed(batch)
        x = ops.concatenate([self.summarize(x), self.tokenize(x)], axis=1)  # (B, T, D)
        x, seen = self.stack(x, training=training)
        click = self.click(self._read(x))
        lower = seen[self.per_layer :: self.per_layer][: len(self.lower_clicks)]
        clicks = [head(self._read(x)) for head, x in zip(self.lower_clicks, lower, strict=True)]
        return ops.concatenate([click, *clicks], axis=-1) if training and clicks else click

    def _read(self, x):
        x = self.last_norm(x)
        return x[:, 0] if self.readout == "global" else ops.mean(x, axis=1)  # (B, D)

    def auxiliary_loss(self, y, click, others, sample_weight):
        # LogLoss takes the mean over them.
        return self.aux_weight * others.shape[-1] * LogLoss()(y, others, sample_weight)
