import keras

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer


class MaskBlock(Layer):
    """A hidden layer whose input is multiplied by a mask made from the row's embeddings.

    `ReLU(LN(W (mask ⊙ V_hidden)))`, `mask = W_2 ReLU(W_1 V_emb + b_1) + b_2`; `W` has no bias.

    Args:
        units: width of the output.
        reduction_ratio: how many times wider than `V_hidden` the layer inside the mask is, the
            paper's `r`.
        dropout: rate after the activation.
        activation: of the output.
        layer_norm: whether there is the layer norm `LN`.

    Call arguments:
        inputs: list of `V_emb` and `V_hidden`, each `(B, K)`, or `(B, F, D)`, which is flattened;
            their widths may differ.

    Returns:
        `(B, units)`.

    Reference:
        Wang et al., "MaskNet", arXiv 2102.07619: instance-guided mask and MaskBlock.
    """

    takes = {"inputs": "(B, K) or (B, F, D)"}

    def __init__(
        self, units, reduction_ratio=2.0, dropout=0.0, activation="relu", layer_norm=True, **kwargs
    ):
        super().__init__(**kwargs)
        require_positive(units=units)
        if reduction_ratio <= 0:
            raise ValueError(
                f"`reduction_ratio` must be positive. Received: reduction_ratio={reduction_ratio}"
            )
        self.units = units
        self.reduction_ratio = reduction_ratio
        self.dropout = dropout
        self.activation = activation
        self.flatten = [keras.layers.Flatten(dtype=self.dtype_policy) for _ in range(2)]
        self.hidden = keras.layers.Dense(
            units, use_bias=False, kernel_initializer="glorot_normal", dtype=self.dtype_policy
        )
        self.layer_norm = layer_norm
        self.norm = (
            keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy)
            if layer_norm
            else keras.layers.Identity(dtype=self.dtype_policy)
        )
        self.activate = keras.layers.Activation(activation, dtype=self.dtype_policy)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        embedding, hidden = (
            part.compute_output_shape(shape)
            for part, shape in zip(self.flatten, input_shape, strict=True)
        )
        wide = max(1, int(hidden[-1] * self.reduction_ratio))
        options = {"kernel_initializer": "glorot_normal", "dtype": self.dtype_policy}
        self.aggregate = keras.layers.Dense(wide, "relu", **options)
        self.project = keras.layers.Dense(hidden[-1], **options)
        self.aggregate.build(embedding)
        self.project.build((embedding[0], wide))
        self.hidden.build(hidden)
        self.norm.build((embedding[0], self.units))

    def call(self, inputs, training=None):
        embedding, hidden = (part(x) for part, x in zip(self.flatten, inputs, strict=True))
        mask = self.project(self.aggregate(embedding))
        return self.drop(self.activate(self.norm(self.hidden(mask * hidden))))
