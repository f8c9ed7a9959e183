import keras

from keras_ctr.layers.base import Layer
from keras_ctr.layers.depth.norms import get_norm


class PreNorm(Layer):
    """A sub-layer with its norm and dropout: returns the increment `dropout(f(norm(x)))`.

    Args:
        sublayer: layer `f` on tokens, called as `f(x, mask=mask)`.
        dropout: rate on the increment.
        norm: pattern of the norm, such as `SeeDNorm()`; one pattern can serve many units, since
            each makes its own copy. `None`: `RMSNormalization`.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: optional `(B, T)` bool.

    Returns:
        The increment, without `x`: `(B, T, D)`, or its last tokens if `f` keeps only those.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)"}

    def __init__(self, sublayer, dropout=0.0, norm=None, **kwargs):
        super().__init__(**kwargs)
        self.sublayer = sublayer
        self.dropout = dropout
        self.norm = get_norm(norm, self.dtype_policy)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.norm.build(input_shape)
        if not self.sublayer.built:
            self.sublayer.build(input_shape)

    def call(self, x, mask=None, training=None):
        return self.drop(self.sublayer(self.norm(x), mask=mask))

    def compute_output_shape(self, input_shape):
        return self.sublayer.compute_output_shape(input_shape)
