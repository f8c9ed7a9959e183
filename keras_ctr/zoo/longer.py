"""LONGER. Card: zoo/longer/README.md."""

import keras

from keras_ctr import layers
from keras_ctr._checks import require_divisor, require_positive
from keras_ctr.zoo._base import CTRModel
from keras_ctr.zoo._event_stack import behind_events


class Longer(CTRModel):
    """A Transformer for long histories: `K` events per token, and few tokens that ask.

    `X = [merged events; G]`. In the first layer only the newest events and the global tokens ask,
    `O_1 = O + Attention(O, X)` with `O = [newest events; G]`; the layers after it are causal
    self-attention among them, each followed by a feed-forward part. The logit reads `G`.

    Global tokens `G` are made from all fields (candidate, user, context). Unlike in the paper they
    come last, so that under the causal mask they see every event. Without sequences in the data
    they are alone.

    Args:
        embedding_dim: width of the embeddings.
        token_dim: token width `D`, the paper's `K·d`; `num_heads` and `merge_size` must divide it.
        num_tokens: number of global tokens, the paper's `m`.
        num_layers: number of layers; the first is the one with few that ask.
        num_heads: attention heads `H`.
        merge_size: events per token, the paper's `K`.
        num_recent: how many of the newest event tokens ask, the paper's `k`; at most all.
        inner_layers: layers of the small Transformer among the events of one token; 0 for none.
        dropout: rate on every increment.
        residual: how layers are connected, an object of `layers.residuals`; default `Identity()`.
        norm: pattern of the norms before units and of the last one, such as `layers.SeeDNorm()`.
            `None`: RMSNormalization.

    Example:

    >>> model = keras_ctr.zoo.get("longer", token_dim=8, num_layers=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Chai et al., "LONGER: Scaling Up Long Sequence Modeling in Industrial Recommenders", arXiv
        2505.04421. `K` and `k` are the paper's, the other sizes are ours.
    """

    def __init__(
        self,
        embedding_dim=16,
        token_dim=64,
        num_tokens=8,
        num_layers=3,
        num_heads=4,
        merge_size=4,
        num_recent=100,
        inner_layers=1,
        dropout=0.0,
        residual=None,
        norm=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(num_tokens=num_tokens, num_layers=num_layers, num_recent=num_recent)
        require_divisor("`token_dim` =", token_dim, num_heads=num_heads, merge_size=merge_size)
        self.embedding_dim = embedding_dim
        self.token_dim = token_dim
        self.num_tokens = num_tokens
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.merge_size = merge_size
        self.num_recent = num_recent
        self.inner_layers = inner_layers
        self.dropout = dropout
        self.residual = residual
        self.norm = norm
        self.depth = layers.copy_of(residual or layers.residuals.Identity())
        self.embed = layers.FeatureEmbedding(embedding_dim, pool=None)
        self.tokenize_fields = layers.AutoSplitTokenizer(num_tokens, token_dim)
        self.tokenize_events = layers.MergedSequenceTokenizer(merge_size, inner_layers)
        # Only global tokens are read in the end: in the last layer no event has to ask.
        keeps = [num_recent + num_tokens] * (num_layers - 1) + [num_tokens]
        units = [
            layers.Serial(
                [
                    layers.PreNorm(layers.SelfAttention(num_heads, 0, True, keep), dropout, norm),
                    layers.PreNorm(layers.FeedForward(), dropout, norm),
                ]
            )
            for keep in keeps
        ]
        self.stack = layers.Stack(units, self.depth)
        self.last_norm = layers.get_norm(norm)
        self.flatten = keras.layers.Flatten()
        self.click = layers.Click()

    def shares_histories(self, differing):
        """Under the causal mask no event sees a field."""
        return True

    def call(self, batch, training=None):
        fields, histories = self.embed(batch)
        x = self.tokenize_fields(fields)  # (B, m, D)
        x = behind_events(self, x, histories, training)  # (B, m, D)
        return self.click(self.flatten(self.last_norm(x)))
