import keras
from keras import ops

from keras_ctr.layers.residuals.base import Residual, rms_normed


class Gated(Residual):
    """Two residuals side by side, blended per hidden dimension: `r = 2·(g ⊙ y + (1 - g) ⊙ x)`.

    Both paths see every increment; only what the next unit sees is blended, so that an identity
    path keeps its coefficient of exactly 1. `g = σ(θ_l)` is one learned vector per site, `θ = 0` at
    the start: then `r = y + x`, the merge of Dual Path Networks. The factor 2 is our choice; with
    it, and a second path that starts silent (SiLU attention), DeRes starts as the plain Pre-Norm
    network.

    Args:
        first: residual `y`; a gate of 1 selects it.
        second: residual `x`.
        gate: `"vector"` `(D,)`; `"scalar"`; `"dynamic"`, `σ(W_2 W_1 RMSNorm(y) + θ)` per token with
            rank `max(1, D // 16)` and `W_2 = 0` at the start; or `None`, additive fusion `y + x`.

    Reference:
        "DeRes", arXiv 2606.07980: that the gate is a vector is the abstract's; that it is static
        and acts on the units' input, not on the stream, is inferred.
    """

    def __init__(self, first, second, gate="vector", **kwargs):
        super().__init__(**kwargs)
        if gate not in ("vector", "scalar", "dynamic", None):
            raise ValueError(
                f"`gate` must be 'vector', 'scalar', 'dynamic' or None. Received: gate={gate!r}"
            )
        self.first = first
        self.second = second
        self.gate = gate

    def build(self, input_shape):
        super().build(input_shape)
        for path in (self.first, self.second):
            if not path.built:
                path.build(input_shape)
        if self.gate is None:
            return
        sites, width = self.depth + 1, 1 if self.gate == "scalar" else self.width
        self.theta = self.add_weight(shape=(sites, width), initializer="zeros", name="theta")
        if self.gate == "dynamic":
            rank = max(1, self.width // 16)
            self.down = self.add_weight(
                shape=(sites, self.width, rank),
                initializer=keras.initializers.RandomNormal(stddev=self.width**-0.5),
                name="down",
            )
            self.up = self.add_weight(
                shape=(sites, rank, self.width), initializer="zeros", name="up"
            )

    def open(self, x):
        return self.first.open(x), self.second.open(x)

    def read(self, state, at):
        y, y_kept = self.first.read(state[0], at)
        x, x_kept = self.second.read(state[1], at)
        kept = (y_kept, x_kept)
        if self.gate is None:
            return y + x, kept
        gate = ops.cast(self.gate_at(y, at), y.dtype)
        return 2 * gate * y + (2 - 2 * gate) * x, kept  # the factor on (D,), not on (B, T, D)

    def write(self, kept, y, at):
        return self.first.write(kept[0], y, at), self.second.write(kept[1], y, at)

    def parts(self):
        return [self, *self.first.parts(), *self.second.parts()]

    def gate_at(self, y, at):
        """Returns the gate of site `at` in float32: `(D,)`, `(1,)`, or `(B, T, D)` if dynamic."""
        logit = self.theta[at]
        if self.gate == "dynamic":
            logit = logit + ops.matmul(ops.matmul(rms_normed(y), self.down[at]), self.up[at])
        gate = ops.sigmoid(logit)
        self.note("gate", at, gate)
        return gate
