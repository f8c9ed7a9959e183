import keras
from keras import ops

from keras_ctr._checks import require_not_negative
from keras_ctr.layers.residuals.base import Residual, tail


class LAuReL(Residual):
    """Learned Augmented Residual Layer: `x' = α_l f(x) + β_l x + B_l A_l x`.

    Two learned scalars (the paper's form RW) and a map of low rank (its form LR). At the start
    `α = β = 1` and `B = 0`, the plain residual; the paper does not state its own.

    Args:
        rank: rank of `B A`; 0 leaves the scalars alone.

    Reference:
        Menghani et al., "LAuReL", arXiv 2411.07501, sections 2.1 and 2.2.
    """

    def __init__(self, rank=8, **kwargs):
        super().__init__(**kwargs)
        require_not_negative(rank=rank)
        self.rank = rank

    def build(self, input_shape):
        super().build(input_shape)
        depth, width, rank = self.depth, self.width, self.rank
        self.scales = self.add_weight(shape=(depth, 2), initializer="ones", name="scales")
        if rank:
            # Standard deviation 1/√D, so that A x is of the size of x.
            small = keras.initializers.RandomNormal(stddev=width**-0.5)
            self.down = self.add_weight(shape=(depth, width, rank), initializer=small, name="down")
            self.up = self.add_weight(shape=(depth, rank, width), initializer="zeros", name="up")

    def open(self, x):
        return x

    def read(self, state, at):
        return state, state

    def write(self, kept, y, at):
        x, scale = tail(kept, y), ops.cast(self.scales[at], y.dtype)
        mixed = scale[0] * y + scale[1] * x
        if self.rank:
            down, up = (ops.cast(kernel[at], y.dtype) for kernel in (self.down, self.up))
            mixed = mixed + ops.matmul(ops.matmul(x, down), up)
        return mixed

    def close(self, state):
        return state
