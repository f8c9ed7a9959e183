"""Residuals that weigh every earlier increment anew at every site, per token."""

import keras
from keras import ops

from keras_ctr.layers.residuals.base import rms_normed
from keras_ctr.layers.residuals.dense import DenseConnections


class MUDD(DenseConnections):
    """Multiway dynamic dense connections, with one way: weights of all outputs from the newest.

    `a = GELU(RMSNorm(x) W_1) W_2 + a_0`, a vector with one weight per earlier output, from the
    plain residual's `x`. `W_2` starts at zero and `a_0` at one: the plain residual.

    Unlike the paper, which makes four inputs (query, key, value, residual), a site makes one; and
    the sources are increments, not layer outputs, which is the same space of sums.

    Reference:
        Xiao et al., "MUDDFormer", arXiv 2502.12170, eqs. (5) to (7).
    """

    def build(self, input_shape):
        super().build(input_shape)
        sites, width = self.depth + 1, self.width
        self.down = self.add_weight(
            shape=(sites, width, sites),
            initializer=keras.initializers.RandomNormal(stddev=width**-0.5),
            name="down",
        )
        self.up = self.add_weight(shape=(sites, sites, sites), initializer="zeros", name="up")
        self.base = self.add_weight(shape=(sites, sites), initializer="ones", name="base")

    def weights_at(self, outputs, at):
        hidden = ops.matmul(rms_normed(sum(outputs)), self.down[at])
        hidden = ops.gelu(hidden, approximate=False)
        weights = ops.matmul(hidden, self.up[at]) + self.base[at]  # (B, T, depth + 1)
        return [weights[..., j : j + 1] for j in range(len(outputs))]
