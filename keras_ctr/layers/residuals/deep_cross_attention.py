"""Residuals that weigh every earlier increment anew at every site, per token."""

import keras
from keras import ops

from keras_ctr.layers.residuals.dense import DenseConnections


class DeepCrossAttention(DenseConnections):
    """The generalised residual network GRN-v3: `Σ_j (b_lj + ReLU(⟨w_l, g_j⟩)) ⊙ g_j`.

    `g_0` is the stack's input and `g_j` the increments; `b_lj` is a vector `(D,)` and starts at
    one, so that the sum starts as the plain residual. `w` starts small and random, since at zero
    it would sit on the kink of ReLU.

    Unlike the paper, a site makes one input and not three, for queries, keys and values: units here
    see one.

    Reference:
        Heddes et al., "DeepCrossAttention", arXiv 2502.06785, eq. (GRN-v3).
    """

    def build(self, input_shape):
        super().build(input_shape)
        sites = self.depth + 1
        self.base = self.add_weight(
            shape=(sites, sites, self.width), initializer="ones", name="base"
        )
        self.query = self.add_weight(
            shape=(sites, self.width),
            initializer=keras.initializers.RandomNormal(stddev=0.01),
            name="query",
        )

    def weights_at(self, outputs, at):
        return [
            self.base[at, j] + ops.relu(ops.sum(output * self.query[at], -1, keepdims=True))
            for j, output in enumerate(outputs)
        ]
