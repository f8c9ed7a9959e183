import keras
from keras import ops

from keras_ctr.layers.residuals.base import Residual, tail


class PostNorm(Residual):
    """ "Add & Norm": `x' = LayerNorm(x + dropout(f(x)))`, the connection of the first Transformers.

    Units see the normalised stream, so they need no norm of their own.

    Args:
        dropout: rate on every increment.

    Reference:
        Vaswani et al., arXiv 1706.03762; the connection of RankMixer, arXiv 2507.15551.
    """

    def __init__(self, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.dropout = dropout
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        super().build(input_shape)
        shape = (self.depth, self.width)
        self.gain = self.add_weight(shape=shape, initializer="ones", name="gain")
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")

    def open(self, x):
        return x

    def read(self, state, at):
        return state, state

    def write(self, kept, y, at):
        x = ops.cast(tail(kept, y) + self.drop(y), "float32")
        x = x - ops.mean(x, axis=-1, keepdims=True)
        x = x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + 1e-5)
        return ops.cast(self.gain[at] * x + self.bias[at], y.dtype)
