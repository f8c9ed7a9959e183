"""OneTrans. Card: zoo/onetrans/README.md."""

import keras

from keras_ctr import layers
from keras_ctr._checks import require_choice, require_divisor, require_positive
from keras_ctr.layers import residuals
from keras_ctr.zoo._base import CTRModel
from keras_ctr.zoo._event_stack import behind_events


class OneTrans(CTRModel):
    """One Pre-Norm Transformer over behaviour events and field tokens together.

    `X = [events; fields]`, then per layer `Z = X + MixedMHA(RMSNorm(X))` and
    `X' = Z + MixedFFN(RMSNorm(Z))`. Events share one set of projections; each field token has its
    own. Fields come last, so that under the causal mask they see every event. The logit reads
    the field tokens (how they are pooled is not stated in the paper; here they are flattened).

    Several histories stand one after the other with a learned `[SEP]` between them. Without
    sequences in the data all tokens are field tokens.

    Args:
        embedding_dim: width of the embeddings.
        token_dim: token width `D` (the paper's `d`); `num_heads` must divide it.
        num_tokens: number of field tokens, the paper's `L_NS`, cut from one projection of all
            fields ("auto-split").
        num_layers: number of Transformer layers.
        num_heads: attention heads `H`.
        dropout: rate on every increment.
        causal: whether a token sees only itself and those before it, as in the paper.
        pyramid: whether events drop out with depth, the oldest first, in even steps: after layer
            `l` of `L` a share `1 - l/L` is left, as in the paper. `False`: only in the last layer.
        groups: lists of column names, for one field token per group instead ("group-wise").
        residual: how layers are connected, an object of `layers.residuals`; default `Identity()`.
        norm: pattern of the norms before units and of the last one, such as `layers.SeeDNorm()`.
            `None`: RMSNormalization.
        granularity: what the residual connects: `"layer"` (attention and feed-forward together,
            the default) or `"sublayer"` (each of them).

    Example:

    >>> model = keras_ctr.zoo.get("onetrans", token_dim=8, num_layers=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Zhang et al., "OneTrans", arXiv 2510.26104. Sizes are ours: the paper's serve 90 million
        weights and histories of 1,190 events.
    """

    default_residual = residuals.Identity
    default_granularity = "layer"

    def __init__(
        self,
        embedding_dim=16,
        token_dim=64,
        num_tokens=8,
        num_layers=4,
        num_heads=4,
        dropout=0.0,
        causal=True,
        pyramid=True,
        groups=None,
        residual=None,
        norm=None,
        granularity=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(num_tokens=num_tokens, num_layers=num_layers)
        require_divisor("`token_dim` =", token_dim, num_heads=num_heads)
        require_choice(("layer", "sublayer", None), granularity=granularity)
        self.embedding_dim = embedding_dim
        self.token_dim = token_dim
        self.num_tokens = num_tokens
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.dropout = dropout
        self.causal = causal
        self.pyramid = pyramid
        self.groups = groups
        self.residual = residual
        self.norm = norm
        self.granularity = granularity
        granularity = granularity or self.default_granularity
        self.depth = layers.copy_of(residual or self.default_residual())
        self.embed = layers.FeatureEmbedding(embedding_dim, pool=None)
        if groups:
            self.tokenize_fields = layers.GroupTokenizer(groups, token_dim)
        else:
            self.tokenize_fields = layers.AutoSplitTokenizer(num_tokens, token_dim)
        self.tokenize_events = layers.SequenceTokenizer(separator=True)
        own = len(groups) if groups else num_tokens
        units = []
        for left in reversed(range(num_layers)):  # how many layers are still to come
            # Only field tokens are read in the end: in the last layer no event has to ask.
            keep = left / (left + 1) if pyramid or not left else None
            layer = [
                layers.PreNorm(layers.SelfAttention(num_heads, own, causal, keep), dropout, norm),
                layers.PreNorm(layers.FeedForward(own_tokens=own), dropout, norm),
            ]
            units += layer if granularity == "sublayer" else [layers.Serial(layer)]
        self.stack = layers.Stack(units, self.depth)
        self.last_norm = layers.get_norm(norm)
        self.flatten = keras.layers.Flatten()
        self.click = layers.Click()

    def shares_histories(self, differing):
        """Under the causal mask no event sees a field."""
        return self.causal

    def call(self, batch, training=None):
        fields, histories = self.embed(batch)
        x = self.tokenize_fields(fields)  # (B, T_NS, D)
        x = behind_events(self, x, histories, training)  # (B, T_NS, D)
        return self.click(self.flatten(self.last_norm(x)))
