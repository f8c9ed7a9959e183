import math

import keras
import numpy as np
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.copies import another


class PiecewiseLinearEmbedding(Layer):
    """Embeds numbers by a piecewise-linear curve in `R^D`, a column for itself, from given bins.

    With the edges `b_0 < … < b_T` of a column, `x` is encoded as
    `e_t = clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)`, eq. (1) of the paper, and embedded as
    `Σ_t e_t v_t + c` with learned vectors `v_t` and `c`. So a threshold anywhere between the edges
    can be learnt, and an outlier does not drown the others. Where the paper lets the first and last
    bin go on beyond the edges, they are clipped here: outside of the training data's range the
    curve is flat. (Our choice.) The encoding is computed in float32 under every policy.

    Args:
        dim: embedding width `D`.
        bins: a list of edges for each column, ascending, two at least; `Numeric.edges` has them.
        activation: name of a Keras activation at the end; the paper's models use `"relu"` or none.
        initializer: of `v` and `c`. Default: uniform in `±1/√T`, `T` of the column with most bins,
            as in the paper's code.

    Call arguments:
        x: `(B, N)`, the values of `N` columns.

    Returns:
        `(B, N, D)`, in the compute dtype.

    Reference:
        Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", arXiv
        2203.05556, section 3.2.
    """

    takes = {"x": "(B, N)"}

    def __init__(self, dim, bins, activation=None, initializer=None, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # or `x` would be rounded before `call`
        require_positive(dim=dim)
        self.dim = dim
        self.bins = [[float(edge) for edge in edges] for edges in bins]
        if not self.bins:
            raise ValueError("`bins` must hold the edges of at least one column. Received: none")
        for edges in self.bins:
            if len(edges) < 2 or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
                raise ValueError(
                    "`bins` must hold for each column two or more finite edges that ascend. "
                    f"Received: {list(edges)}"
                )
        self.activation = activation
        self.initializer = initializer
        self._activate = keras.activations.get(activation)

    def build(self, input_shape):
        columns, longest = len(self.bins), max(len(edges) for edges in self.bins) - 1
        if input_shape[-1] != columns:
            raise ValueError(
                f"`x` must have a column for each of the {columns} lists of `bins`. "
                f"Received: shape {tuple(input_shape)}"
            )
        # `e_t = clip((x - start)·slope, 0, 1)`: bins that a column does not have stay at zero.
        start, slope = np.zeros((2, columns, longest), "float32")
        for column, edges in enumerate(self.bins):
            start[column, : len(edges) - 1] = edges[:-1]
            slope[column, : len(edges) - 1] = 1 / np.diff(edges)
        self._start, self._slope = start, slope
        bound = 1 / math.sqrt(longest)
        initializer = keras.initializers.get(
            self.initializer or keras.initializers.RandomUniform(-bound, bound)
        )
        self.vectors = self.add_weight(
            shape=(columns, longest, self.dim), initializer=initializer, name="vectors"
        )
        self.bias = self.add_weight(
            shape=(columns, self.dim), initializer=another(initializer), name="bias"
        )

    def call(self, x):
        x = ops.expand_dims(ops.cast(x, "float32"), -1)  # (B, N, 1)
        encoded = ops.multiply(ops.subtract(x, self._start), self._slope)
        encoded = ops.clip(encoded, 0.0, 1.0)  # (B, N, T)
        encoded, vectors, bias = (
            ops.cast(each, self.compute_dtype) for each in (encoded, self.vectors, self.bias)
        )
        return self._activate(ops.einsum("bnt,ntd->bnd", encoded, vectors) + bias)
