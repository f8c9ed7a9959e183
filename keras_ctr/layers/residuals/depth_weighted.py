import numpy as np
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.residuals.base import Residual, tail


class DepthWeighted(Residual):
    """DenseFormer: before each unit, a weighted sum over everything the stack has put out so far.

    `X_i = Y_{i-1} + f_i(Y_{i-1})` and `Y_i = Σ_{j<=i} α_ij X_j`, with `X_0` the stack's input and
    static scalars `α`. At the start `α_ii = 1` and the others are 0: the plain residual.

    Args:
        dilation: only every `dilation`-th earlier output is summed, `(i - j) mod dilation = 0`.
        period: the sum is taken after every `period`-th unit only.

    Reference:
        Pagliardini et al., "DenseFormer", arXiv 2402.02622, eq. (2); options as in the authors'
        code.
    """

    def __init__(self, dilation=1, period=1, **kwargs):
        super().__init__(**kwargs)
        require_positive(dilation=dilation, period=period)
        self.dilation = dilation
        self.period = period

    def build(self, input_shape):
        super().build(input_shape)
        # Row i - 1 holds the weights α_i0 ... α_ii of the sum after unit i; the rest is unused.
        self.alpha = self.add_weight(
            shape=(self.depth, self.depth + 1),
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.eye(*shape, k=1), dtype),
            name="alpha",
        )

    def open(self, x):
        return (x,), x  # all outputs X_j, and Y

    def read(self, state, at):
        return state[1], state

    def write(self, kept, y, at):
        outputs, x = kept
        outputs = (*(tail(output, y) for output in outputs), tail(x, y) + y)
        unit = at + 1
        if unit % self.period:
            return outputs, outputs[-1]
        mixed = sum(
            self.alpha[at, j] * ops.cast(output, "float32")
            for j, output in enumerate(outputs)
            if (unit - j) % self.dilation == 0
        )
        return outputs, ops.cast(mixed, y.dtype)

    def close(self, state):
        return state[1]
