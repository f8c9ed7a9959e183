import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer


class CompositeProjection(Layer):
    """`reshape(flatten(X)·A·B)`: every token projected from all of them, through `rank` numbers.

    Args:
        rank: inner width `r`.

    Call arguments:
        x: tokens `(B, T, D)` with static `T`.

    Returns:
        `(B, T, D)`.

    Reference:
        Gui et al., "Hiformer", arXiv 2311.05884, low-rank approximation of the composite
        projection.
    """

    takes = {"x": "(B, T, D)"}

    def __init__(self, rank, **kwargs):
        super().__init__(**kwargs)
        require_positive(rank=rank)
        self.rank = rank

    def build(self, input_shape):
        flat = input_shape[1] * input_shape[2]
        options = {
            "use_bias": False,
            "kernel_initializer": "lecun_normal",
            "dtype": self.dtype_policy,
        }
        self.down = keras.layers.Dense(self.rank, **options)
        self.up = keras.layers.Dense(flat, **options)
        self.down.build((input_shape[0], flat))
        self.up.build((input_shape[0], self.rank))

    def call(self, x):
        tokens, width = x.shape[1:]
        flat = ops.reshape(x, (-1, tokens * width))
        return ops.reshape(self.up(self.down(flat)), (-1, tokens, width))
