from keras import ops

from keras_ctr.layers.residuals._base import Residual


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

    Reference:
        "DeRes", arXiv 2606.07980: that the gate is a vector is the abstract's; that it is static
        and acts on the units' input, not on the stream, is inferred.
    """

    def __init__(self, first, second, **kwargs):
        super().__init__(**kwargs)
        self.first = first
        self.second = second

    def build(self, input_shape):
        super().build(input_shape)
        for path in (self.first, self.second):
            if not path.built:
                path.build(input_shape)
        self.theta = self.add_weight(
            shape=(self.depth + 1, self.width), initializer="zeros", autocast=False, name="theta"
        )

    def open(self, x):
        return self.first.open(x), self.second.open(x)

    def read(self, state, at):
        y, y_kept = self.first.read(state[0], at)
        x, x_kept = self.second.read(state[1], at)
        gate = ops.cast(ops.sigmoid(self.theta[at]), y.dtype)  # (D,)
        return 2 * (gate * y + (1 - gate) * x), (y_kept, x_kept)

    def write(self, kept, y, at):
        return self.first.write(kept[0], y, at), self.second.write(kept[1], y, at)
