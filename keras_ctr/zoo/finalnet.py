"""FinalNet. Card: zoo/finalnet/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.losses import LogLoss
from keras_ctr.zoo._two_streams import TwoStreams


class FinalNet(TwoStreams):
    """Two towers whose layers multiply, the first with gated fields: `p = σ(½ (y_1 + y_2))`.

    Both also learn from the model's own answer: the loss is `BCE(p, y) + BCE(σ(y_1), p) +
    BCE(σ(y_2), p)`, where the last two do not move `p`. In training `call` returns the three
    probabilities `(B, 3)`.

    Args:
        embedding_dim: width `D` of the embeddings.
        hidden_units: widths of the first block's layers, all even.
        second_units: widths of the second block's layers, all even.
        dropout: rate in both blocks.
        activation: of both blocks.

    Example:

    >>> model = keras_ctr.zoo.get("finalnet", embedding_dim=4, hidden_units=[8], second_units=[8])
    >>> model.adapt(schema).predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Zhu et al., "FINAL: Factorized Interaction Layer for CTR Prediction", SIGIR 2023; code
        reczoo/FuxiCTR.
    """

    def __init__(
        self,
        embedding_dim=10,
        hidden_units=(400, 400, 400),
        second_units=(400,),
        dropout=0.0,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.hidden_units = hidden_units
        self.second_units = second_units
        self.dropout = dropout
        self.activation = activation
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.gate = layers.FieldGate()
        self.blocks = [
            layers.FactorizedInteractionBlock(units, activation, dropout)
            for units in (hidden_units, second_units)
        ]

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        first, second = self.blocks
        return self.fuse(
            first(self.gate(x), training=training), second(x, training=training), training
        )

    def stream_loss(self, y, whole, stream, sample_weight):
        return LogLoss()(ops.stop_gradient(whole), stream, sample_weight)
