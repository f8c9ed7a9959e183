import keras
import numpy as np
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.residuals.base import Residual, rms_normed, tail

TINY = 1e-30  # below it a row or column of float32 counts as empty


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


class ManifoldHyperConnection(Residual):
    """mHC: Hyper-Connections whose mixing matrix is doubly stochastic, by Sinkhorn's iteration.

    `X' = H_res X + H_postᵀ f(H_pre X)` with `H_pre = σ(·)`, `H_post = 2σ(·)` and
    `H_res = Sinkhorn(·)`, each of `a · (z φ) + b` for `z = RMSNorm(vec(X))`: no stream can blow up
    or vanish. The iteration runs in float32, columns first, then rows.

    The paper gives no initial value of the static `b`. Ours: `b_res` is 0 on the diagonal and -4
    off it (close to the identity, yet with a gradient); `b_pre` and `b_post` are +1 at stream
    `l mod n` and -1 elsewhere, since a symmetric start would keep all streams equal for ever.

    Args:
        streams: number of streams `n`.
        iterations: Sinkhorn iterations.

    Reference:
        DeepSeek, "mHC: Manifold-Constrained Hyper-Connections", arXiv 2512.24880; exit by sum as
        in Hyper-Connections.
    """

    def __init__(self, streams=4, iterations=20, **kwargs):
        super().__init__(**kwargs)
        require_positive(streams=streams)
        self.streams = streams
        self.iterations = iterations

    def build(self, input_shape):
        super().build(input_shape)
        n, depth, width = self.streams, self.depth, self.width
        flat, maps = n * width, n * n + 2 * n
        near = np.where(np.eye(n, dtype=bool), 0.0, -4.0).reshape(-1)
        one_hot = 2 * np.eye(n)[np.arange(depth) % n] - 1
        bias = np.concatenate([one_hot, one_hot, np.stack([near] * depth)], axis=1)
        self.gain = self.add_weight(shape=(depth, flat), initializer="ones", name="gain")
        self.phi = self.add_weight(shape=(depth, flat, maps), initializer="zeros", name="phi")
        self.bias = self.add_weight(
            shape=(depth, maps),
            initializer=lambda shape, dtype: ops.convert_to_tensor(bias, dtype),
            name="bias",
        )
        self.scales = self.add_weight(  # the paper's a_pre, a_post, a_res
            shape=(depth, 3),
            initializer=keras.initializers.Constant(0.01),
            name="scales",
        )

    def open(self, x):
        return ops.repeat(ops.expand_dims(x, 2), self.streams, axis=2)  # (B, T, n, D)

    def read(self, state, at):
        n = self.streams
        streams = ops.cast(state, "float32")
        flat = ops.reshape(streams, (-1, streams.shape[1], n * self.width))
        z = rms_normed(flat) * self.gain[at]
        maps = ops.matmul(z, self.phi[at])  # (B, T, 2n + n²)
        bias, scale = self.bias[at], self.scales[at]
        pre = ops.sigmoid(scale[0] * maps[..., :n] + bias[:n])
        post = 2 * ops.sigmoid(scale[1] * maps[..., n : 2 * n] + bias[n : 2 * n])
        logits = scale[2] * maps[..., 2 * n :] + bias[2 * n :]
        mix = sinkhorn(ops.reshape(logits, (-1, streams.shape[1], n, n)), self.iterations)
        seen = ops.sum(ops.expand_dims(pre, -1) * streams, axis=2)  # (B, T, D)
        mixed = mix_streams(mix, streams)  # (B, T, n, D)
        return ops.cast(seen, state.dtype), (ops.cast(mixed, state.dtype), post)

    def write(self, kept, y, at):
        mixed, post = kept
        increment = ops.cast(ops.expand_dims(tail(post, y), -1), y.dtype) * ops.expand_dims(y, 2)
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


def sinkhorn(logits, iterations=20):
    """Turns `(…, n, n)` logits into doubly stochastic matrices: rows exactly, columns nearly.

    Columns first, then rows, by Sinkhorn and Knopp. The first iteration runs on logarithms, so that
    no logit can overflow; it leaves a matrix `K` with entries in [0, 1]. The others only scale its
    rows and columns, `K ← diag(u) K diag(v)`: the same numbers as `iterations` rounds of
    `logsumexp`, for a third of the time and a fifth of the compilation.

    For logits of standard deviation 1, 20 iterations are exact to 1e-12; for larger ones they are
    not, so keep the logits small.
    """
    logits = logits - ops.logsumexp(logits, axis=-2, keepdims=True)
    kernel = ops.exp(logits - ops.logsumexp(logits, axis=-1, keepdims=True))
    u, v = ops.ones_like(kernel[..., :1]), ops.ones_like(kernel[..., :1, :])
    for _ in range(iterations - 1):
        v = 1 / ops.maximum(ops.sum(kernel * u, axis=-2, keepdims=True), TINY)
        u = 1 / ops.maximum(ops.sum(kernel * v, axis=-1, keepdims=True), TINY)
    return u * kernel * v
