import keras
import numpy as np
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer


class PiecewiseLinearEmbedding(Layer):
    """Embeds numbers by a piecewise-linear curve in `R^D`, a column for itself, from given bins.

    With the edges `b_0 < … < b_T` of a column, `x` is encoded as
    `e_t = clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)`, eq. (1) of the paper, and embedded as
    `Σ_t e_t v_t + c` with learned vectors `v_t` and `c`. So a threshold anywhere between the edges
    can be learnt, and an outlier does not drown the others. Where the paper lets the first and last
    bin go on beyond the edges, they are clipped here: outside of the training data's range the
    curve is flat. (Our choice.)

    Args:
        dim: embedding width `D`.
        bins: a list of edges for each column, ascending, two at least; `Numeric.edges` has them.
        activation: name of a Keras activation at the end; the paper's models use `"relu"` or none.
        initializer: of the vectors. Default: uniform in `±1/√T`, as the paper's code has it.

    Call arguments:
        x: `(B, N)`, the values of `N` columns.

    Returns:
        `(B, N, D)`.

    Reference:
        Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", arXiv
        2203.05556, section 3.2.
    """

    takes = {"x": "(B, N)"}

    def __init__(self, dim, bins, activation=None, initializer=None, **kwargs):
        super().__init__(**kwargs)
        require_positive(dim=dim)
        for edges in bins:
            if len(edges) < 2 or not (np.diff(edges) > 0).all():
                raise ValueError(
                    "`bins` must hold for each column two or more edges that ascend. "
                    f"Received: {list(edges)}"
                )
        if not bins:
            raise ValueError("`bins` must hold the edges of at least one column. Received: none")
        self.dim = dim
        self.bins = bins
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
        # `e_t = clip(x·slope - start, 0, 1)`: bins that a column does not have stay at zero.
        slope, start = np.zeros((2, columns, longest))
        for column, edges in enumerate(self.bins):
            widths = np.diff(edges)
            slope[column, : len(widths)] = 1 / widths
            start[column, : len(widths)] = edges[:-1] / widths
        self._slope, self._start = slope.astype("float32"), start.astype("float32")
        given = self.initializer or keras.initializers.RandomUniform(
            -1 / np.sqrt(longest), 1 / np.sqrt(longest)
        )
        self.vectors = self.add_weight(
            shape=(columns, longest, self.dim),
            initializer=keras.initializers.get(given),
            name="vectors",
        )
        self.bias = self.add_weight(shape=(columns, self.dim), initializer="zeros", name="bias")

    def call(self, x):
        x = ops.expand_dims(ops.cast(x, "float32"), -1)  # (B, N, 1)
        encoded = ops.clip(x * self._slope - self._start, 0.0, 1.0)  # (B, N, T)
        encoded = ops.cast(encoded, self.compute_dtype)
        curve = ops.einsum("bnt,ntd->bnd", encoded, self.vectors) + self.bias
        return self._activate(curve)
