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
        first: optional `(1, P, D)`, tokens before all rows, see `Stack`.

    Returns:
        The increment, without `x`: `(B, T, D)`, or its last tokens if `f` keeps only those. With
        `first`: a pair of theirs and this.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)", "first": "(1, P, D)"}

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

    def call(self, x, mask=None, first=None, training=None):
        if first is None:
            return self.drop(self.sublayer(self.norm(x), mask=mask))
        of_first, of_x = self.sublayer(self.norm(x), mask=mask, first=self.norm(first))
        return None if of_first is None else self.drop(of_first), self.drop(of_x)

    def compute_output_shape(self, input_shape):
        return self.sublayer.compute_output_shape(input_shape)
