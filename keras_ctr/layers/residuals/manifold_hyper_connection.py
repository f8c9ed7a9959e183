import keras
import numpy as np
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.residuals.base import Residual, rms_normed, tail
from keras_ctr.layers.residuals.hyper_connection import mix_streams
from keras_ctr.layers.residuals.sinkhorn import sinkhorn


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
