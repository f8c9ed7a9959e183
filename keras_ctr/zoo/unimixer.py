"""UniMixer. Card: zoo/unimixer/README.md."""

import keras

from keras_ctr import layers
from keras_ctr._checks import require_choice, require_positive
from keras_ctr.layers import residuals
from keras_ctr.zoo._base import CTRModel


class UniMixer(CTRModel):
    """Token mixing with learned weights: the flat tokens times doubly stochastic block matrices.

    Per layer `O = pSwiGLU(RMSNorm(Z + UniMixing(Z)))`, where `Z` and `O` are read from and written
    to two streams, one normalised after every layer and one never (`residuals.Siamese`). The
    logit reads the mean of the tokens. Histories are pooled.

    Args:
        embedding_dim: width of the embeddings.
        token_dim: token width `D`.
        num_tokens: number of tokens `T`.
        num_layers: number of layers.
        mixing: layer that is copied to every layer. Default `UniMixing(block_size=8,
            temperature=0.2)`; its `block_size` must divide `T·D`.
        expansion: hidden width of the pSwiGLU over `D`.
        dropout: rate after the pSwiGLU; not in the paper.
        residual: how units are connected, an object of `layers.residuals`. Default `Siamese()`.
        norm: pattern of the norms before units and of the last one, such as `layers.SeeDNorm()`.
            `None`: RMSNormalization.
        granularity: a unit is a `"layer"` (default), or a `"sublayer"`: mixing and pSwiGLU each.

    Example:

    >>> model = keras_ctr.zoo.get("unimixer", token_dim=8, num_tokens=4).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        "UniMixer", arXiv 2604.00590: we could read its abstract, and the equations as quoted by
        others. Its sizes are not public.
    """

    default_mixing = layers.UniMixing

    def __init__(
        self,
        embedding_dim=16,
        token_dim=64,
        num_tokens=8,
        num_layers=2,
        mixing=None,
        expansion=2,
        dropout=0.0,
        residual=None,
        norm=None,
        granularity="layer",
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(num_tokens=num_tokens, num_layers=num_layers)
        require_choice(("layer", "sublayer"), granularity=granularity)
        self.embedding_dim = embedding_dim
        self.token_dim = token_dim
        self.num_tokens = num_tokens
        self.num_layers = num_layers
        self.mixing = mixing
        self.expansion = expansion
        self.dropout = dropout
        self.residual = residual
        self.norm = norm
        self.granularity = granularity
        mixings = layers.copies(mixing or self.default_mixing(), num_layers)
        self.mix = mixings[0]
        self.depth = layers.copy_of(residual or residuals.Siamese())
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.tokenize = layers.SliceTokenizer(num_tokens, token_dim)
        units = []
        for mixing in mixings:
            transform = layers.PreNorm(layers.PerTokenSwiGLU(expansion), dropout, norm)
            sublayers = granularity == "sublayer"
            units += [mixing, transform] if sublayers else [layers.Nested(mixing, transform)]
        self.stack = layers.Stack(units, self.depth)
        self.last_norm = layers.get_norm(norm)
        self.pool = keras.layers.GlobalAveragePooling1D()
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.tokenize(self.embed(batch))  # (B, T, D)
        x = self.stack(x, training=training)
        return self.click(self.pool(self.last_norm(x)))
