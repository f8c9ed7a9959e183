import numpy as np
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.residuals.base import Residual, rms_normed, tail


class HyperConnection(Residual):
    """Hyper-Connections: `n` parallel streams, read, mixed and written with learned weights.

    With the streams `H` `(n, D)` of a token, unit `l` sees `u = A_mᵀ H`, and then
    `H' = A_rᵀ H + Bᵀ f(u)`. The stack's input is copied to every stream; its output is their sum.

    In the dynamic form the weights depend on the token: `B = s_β tanh(norm(H) W_β)ᵀ + B_0`, and
    likewise `A_m` and `A_r` with `s_α`. At the start `W = 0`, `B_0 = 1`, `A_r = I` and `A_m` picks
    stream `l mod n`: the plain residual, up to the sum of `n` equal streams at the exit, which a
    norm after the stack takes away.

    Args:
        streams: number of streams `n` (4 in the paper).
        dynamic: whether the weights depend on the token.

    Reference:
        Zhu et al., "Hyper-Connections", arXiv 2409.19606, eqs. (2) to (14). Its output projections
        are scaled by `√n` to make up for the sum; here the final norm does.
    """

    def __init__(self, streams=4, dynamic=True, **kwargs):
        super().__init__(**kwargs)
        require_positive(streams=streams)
        self.streams = streams
        self.dynamic = dynamic

    def build(self, input_shape):
        super().build(input_shape)
        n, depth, width = self.streams, self.depth, self.width
        one_hot = np.eye(n, dtype="float32")[np.arange(depth) % n]
        self.write_weights = self._weight((depth, n), "write", np.ones((depth, n)))
        self.read_weights = self._weight((depth, n), "read", one_hot)
        self.mix_weights = self._weight((depth, n, n), "mix", np.stack([np.eye(n)] * depth))
        if self.dynamic:
            self.gain = self._weight((depth, width), "gain", np.ones((depth, width)))
            self.to_write = self._weight((depth, width, 1), "to_write")
            self.to_read = self._weight((depth, width, 1), "to_read")
            self.to_mix = self._weight((depth, width, n), "to_mix")
            self.scales = self._weight((depth, 3), "scales", np.full((depth, 3), 0.01))

    def _weight(self, shape, name, value=None):
        value = np.zeros(shape) if value is None else value
        return self.add_weight(
            shape=shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(value, dtype),
            name=name,
        )

    def open(self, x):
        return ops.repeat(ops.expand_dims(x, 2), self.streams, axis=2)  # (B, T, n, D)

    def read(self, state, at):
        write, read, mix = self.write_weights[at], self.read_weights[at], self.mix_weights[at]
        streams = ops.cast(state, "float32")
        if self.dynamic:
            normed = rms_normed(streams) * self.gain[at]
            by_write, by_read, by_mix = (
                self.scales[at, i] * ops.tanh(ops.matmul(normed, kernel[at]))
                for i, kernel in enumerate((self.to_write, self.to_read, self.to_mix))
            )  # (B, T, n, 1), (B, T, n, 1), (B, T, n, n)
            write, read, mix = write + by_write[..., 0], read + by_read[..., 0], mix + by_mix
        else:
            write, read, mix = (ops.expand_dims(w, (0, 1)) for w in (write, read, mix))
        seen = ops.sum(ops.expand_dims(read, -1) * streams, axis=2)  # (B, T, D)
        mixed = mix_streams(ops.swapaxes(mix, -1, -2), streams)  # (B, T, n, D)
        return ops.cast(seen, state.dtype), (ops.cast(mixed, state.dtype), write)

    def write(self, kept, y, at):
        mixed, write = kept
        if write.shape[1] != 1:  # one set of weights per token
            write = tail(write, y)
        increment = ops.cast(ops.expand_dims(write, -1), y.dtype) * ops.expand_dims(y, 2)
        return tail(mixed, y) + increment

    def close(self, state):
        return ops.sum(state, axis=2)


def mix_streams(mix, streams):
    """`mix` `(B or 1, T or 1, n, n)` times `streams` `(B, T, n, D)`, as a sum over the `n` sources.

    A batched matrix product of so small matrices costs more in calls than in arithmetic.
    """
    return sum(
        mix[..., source, None] * streams[..., source, None, :] for source in range(mix.shape[-1])
    )
