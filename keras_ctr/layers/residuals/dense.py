"""Residuals that weigh every earlier increment anew at every site, per token."""

import keras
from keras import ops

from keras_ctr.layers.residuals.base import Residual, rms_normed, tail


class _Dense(Residual):
    """Keeps the stack's input and all increments; a site sees a weighted sum of them. Abstract."""

    def open(self, x):
        return (x,)

    def read(self, state, at):
        outputs = [ops.cast(output, "float32") for output in state]
        mixed = sum(
            weight * output
            for weight, output in zip(self.weights_at(outputs, at), outputs, strict=True)
        )
        return ops.cast(mixed, state[0].dtype), state

    def write(self, kept, y, at):
        return (*(tail(output, y) for output in kept), y)

    def weights_at(self, outputs, at):
        """Returns a weight for each of the `at + 1` outputs: scalar, `(D,)` or `(B, T, 1 or D)`."""
        raise NotImplementedError


class DeepCrossAttention(_Dense):
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


class MUDD(_Dense):
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
