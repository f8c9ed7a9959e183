import numpy as np
from keras import ops

from keras_ctr.layers.residuals.base import Residual, tail


class LearnableResidual(Residual):
    """A learned map in place of the identity: `x' = W_l x + f(x)`, or `λ_l ⊙ x + f(x)`.

    The comparison DeRes draws: products of learned maps fade or grow with depth, the identity does
    not. At the start `W = I` and `λ = 1`, the plain residual.

    Args:
        diagonal: `λ_l` `(D,)` instead of the full matrix `W_l` `(D, D)`.

    Reference:
        The "learnable residual" of the ablation in "DeRes", arXiv 2606.07980, whose form is not
        public.
    """

    def __init__(self, diagonal=False, **kwargs):
        super().__init__(**kwargs)
        self.diagonal = diagonal

    def build(self, input_shape):
        super().build(input_shape)
        one = np.ones(self.width) if self.diagonal else np.eye(self.width)
        start = np.stack([one] * self.depth).astype("float32")
        self.map = self.add_weight(
            shape=start.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(start, dtype),
            name="map",
        )

    def open(self, x):
        return x

    def read(self, state, at):
        return state, state

    def write(self, kept, y, at):
        x, kernel = tail(kept, y), ops.cast(self.map[at], y.dtype)
        return y + (kernel * x if self.diagonal else ops.matmul(x, kernel))

    def close(self, state):
        return state
