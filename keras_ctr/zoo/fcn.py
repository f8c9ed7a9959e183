"""FCN, first published as DCNv3. Card: zoo/fcn/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr._checks import require_even, require_positive
from keras_ctr.losses import LogLoss
from keras_ctr.zoo._two_streams import TwoStreams


class FCN(TwoStreams):
    """Two cross networks and no tower, one of exponential degree: `p = σ(½ (y_exp + y_lin))`.

    A network that does worse than both together learns on its own besides: the loss is
    `L + w_exp L_exp + w_lin L_lin`, `w = max(0, L_own - L)`. In training `call` returns the three
    probabilities `(B, 3)`.

    Args:
        embedding_dim: width `D` of the embeddings per head, an even number.
        num_exponential_layers: layers of the exponential cross network.
        num_linear_layers: layers of the linear cross network.
        num_heads: heads; each has an embedding of its own, and all share the cross networks.
        dropout: rate in the exponential cross network.
        linear_dropout: rate in the linear cross network.
        constant_weights: whether `w` is a constant for the gradient, as we read the paper. The
            authors' code differentiates it.

    Example:

    >>> model = keras_ctr.zoo.get("fcn", embedding_dim=4, num_heads=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Li et al., "DCNv3: Towards Next Generation Deep Cross Network for CTR Prediction" (later
        "FCN: Fusing Exponential and Linear Cross Network"), arXiv 2407.13349; code salmon1802/FCN.
    """

    def __init__(
        self,
        embedding_dim=16,
        num_exponential_layers=3,
        num_linear_layers=4,
        num_heads=1,
        dropout=0.1,
        linear_dropout=0.2,
        constant_weights=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_even(embedding_dim=embedding_dim)
        require_positive(num_heads=num_heads)
        self.embedding_dim = embedding_dim
        self.num_exponential_layers = num_exponential_layers
        self.num_linear_layers = num_linear_layers
        self.num_heads = num_heads
        self.dropout = dropout
        self.linear_dropout = linear_dropout
        self.constant_weights = constant_weights
        self.embed = layers.FeatureEmbedding(embedding_dim * num_heads)
        self.exponential = layers.ExponentialCross(num_exponential_layers, dropout)
        self.linear = layers.LinearCross(num_linear_layers, linear_dropout)

    def call(self, batch, training=None):
        x = self._heads(self.embed(batch))  # (B, H, F·D)
        streams = (net(x, training=training) for net in (self.exponential, self.linear))
        # The mean of the heads' logits is the logit of their mean.
        return self.fuse(*(ops.mean(x, axis=1) for x in streams), training)

    def _heads(self, x):
        """Splits `(B, F, H·D)` into heads `(B, H, F·D)`: first halves of all fields, then second
        halves, as the masked half of a cross layer is the second one."""
        fields, half = x.shape[1], self.embedding_dim // 2
        x = ops.reshape(x, (-1, fields, self.num_heads, 2, half))
        x = ops.transpose(x, (0, 2, 3, 1, 4))  # (B, H, 2, F, D/2)
        return ops.reshape(x, (-1, self.num_heads, fields * self.embedding_dim))

    def stream_loss(self, y, whole, stream, sample_weight):
        own = LogLoss()(y, stream, sample_weight)
        weight = ops.relu(own - LogLoss()(y, whole, sample_weight))
        return own * (ops.stop_gradient(weight) if self.constant_weights else weight)
