import keras
from keras import ops

from keras_ctr.layers.base import Layer


class SqueezeExcitation(Layer):
    """Weights each field by its importance in this row: `ẽ_i = a_i e_i`.

    `a = ReLU(W_2 ReLU(W_1 z))`, where `z_i` is the mean of `e_i`. The two matrices have no bias;
    the layer between them has `max(1, ⌊F / reduction_ratio⌋)` units.

    Args:
        reduction_ratio: how many times narrower than the fields the middle is, the paper's `r`.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, F, D)`.

    Reference:
        Huang et al., "FiBiNET", arXiv 1905.09433: SENET layer.
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, reduction_ratio=3, **kwargs):
        super().__init__(**kwargs)
        if reduction_ratio <= 0:
            raise ValueError(
                f"`reduction_ratio` must be positive. Received: reduction_ratio={reduction_ratio}"
            )
        self.reduction_ratio = reduction_ratio

    def build(self, input_shape):
        batch, fields, _ = input_shape
        narrow = max(1, int(fields / self.reduction_ratio))
        options = {
            "activation": "relu",
            "use_bias": False,
            "kernel_initializer": "glorot_normal",
            "dtype": self.dtype_policy,
        }
        self.squeeze = keras.layers.Dense(narrow, **options)
        self.excite = keras.layers.Dense(fields, **options)
        self.squeeze.build((batch, fields))
        self.excite.build((batch, narrow))

    def call(self, x):
        importance = self.excite(self.squeeze(ops.mean(x, axis=-1)))  # (B, F)
        return x * importance[..., None]
