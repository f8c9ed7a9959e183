import math

import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.copies import another


class PeriodicEmbedding(Layer):
    """Embeds numbers by sines and cosines of learned frequencies, then a learned linear part.

    `PLR` of the paper, each column with weights of its own: `v = 2π c x` with `K` frequencies `c`,
    drawn from `N(0, σ)`, then `ReLU(W [sin v; cos v] + b)`. Sines and cosines are computed in
    float32 under every policy.

    Args:
        dim: embedding width `D`.
        num_frequencies: `K`, the paper's `k`.
        frequency_scale: `σ`, which the paper tunes: for values of standard deviation 1 it lies
            between 0.01 and 1.
        activation: name of a Keras activation at the end.
        initializer: of `W` and `b`. Default: uniform in `±1/√(2K)`, as in the paper's code.

    Call arguments:
        x: `(B, N)`, the values of `N` columns, best of about the same spread.

    Returns:
        `(B, N, D)`, in the compute dtype.

    Reference:
        Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", arXiv
        2203.05556, section 3.3.
    """

    takes = {"x": "(B, N)"}

    def __init__(
        self,
        dim,
        num_frequencies=24,
        frequency_scale=0.1,
        activation="relu",
        initializer=None,
        **kwargs,
    ):
        super().__init__(**{"autocast": False, **kwargs})  # or `x` would be rounded before `call`
        require_positive(dim=dim, num_frequencies=num_frequencies)
        if not frequency_scale > 0:
            raise ValueError(
                "`frequency_scale` must be a positive number. "
                f"Received: frequency_scale={frequency_scale!r}"
            )
        self.dim = dim
        self.num_frequencies = num_frequencies
        self.frequency_scale = frequency_scale
        self.activation = activation
        self.initializer = initializer
        self._activate = keras.activations.get(activation)

    def build(self, input_shape):
        columns = input_shape[-1]
        self.frequencies = self.add_weight(
            shape=(columns, self.num_frequencies),
            initializer=keras.initializers.RandomNormal(stddev=self.frequency_scale),
            name="frequencies",
        )
        bound = 1 / math.sqrt(2 * self.num_frequencies)
        initializer = keras.initializers.get(
            self.initializer or keras.initializers.RandomUniform(-bound, bound)
        )
        self.kernel = self.add_weight(
            shape=(columns, 2 * self.num_frequencies, self.dim),
            initializer=initializer,
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(columns, self.dim), initializer=another(initializer), name="bias"
        )

    def call(self, x):
        x = ops.expand_dims(ops.cast(x, "float32"), -1)  # (B, N, 1)
        angles = 2 * math.pi * x * ops.cast(self.frequencies, "float32")  # (B, N, K)
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        waves, kernel, bias = (
            ops.cast(each, self.compute_dtype) for each in (waves, self.kernel, self.bias)
        )
        return self._activate(ops.einsum("bnk,nkd->bnd", waves, kernel) + bias)
