import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.tower.mlp import MLP


class FactorizationMachineBlock(Layer):
    """Wukong's FMB: products of all pairs of vectors, compressed, then an MLP back to vectors.

    `reshape(W·MLP(LN(flatten(X(XᵀY)))))`. `XXᵀ` holds every pair's inner product; multiplied from
    the right first, it costs `T·k·D` instead of `T²·D`. `Y` is learned and the same for every row
    (the paper also has one that depends on the input). It starts with variance `1/T` (our choice),
    and the last layer is linear (FuxiCTR's is ReLU).

    Args:
        num_tokens: number of vectors that come out, the paper's `n_F`.
        rank: columns of `Y`, the paper's `k`.
        hidden_units: widths of the MLP.
        dropout: rate in the MLP.

    Call arguments:
        x: vectors `(B, T, D)` with static `T`.

    Returns:
        `(B, num_tokens, D)`.

    Reference:
        Zhang et al., "Wukong", arXiv 2403.02545: factorization machine block, optimized FM.
    """

    takes = {"x": "(B, T, D)"}

    def __init__(self, num_tokens, rank=8, hidden_units=(512, 256), dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_tokens=num_tokens, rank=rank)
        self.num_tokens = num_tokens
        self.rank = rank
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy)
        self.mlp = MLP(hidden_units, dropout=dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        batch, tokens, width = input_shape
        self.compress = self.add_weight(
            shape=(tokens, self.rank),
            initializer=keras.initializers.RandomNormal(stddev=tokens**-0.5),
            name="compress",
        )
        self.norm.build((batch, tokens * self.rank))
        self.mlp.build((batch, tokens * self.rank))
        self.project = keras.layers.Dense(self.num_tokens * width, dtype=self.dtype_policy)
        self.project.build((batch, self.hidden_units[-1]))

    def call(self, x, training=None):
        tokens, width = x.shape[1:]
        compressed = ops.einsum("btd,tk->bdk", x, self.compress)  # XᵀY
        pairs = ops.matmul(x, compressed)  # (B, T, k)
        pairs = self.norm(ops.reshape(pairs, (-1, tokens * self.rank)))
        return ops.reshape(self.project(self.mlp(pairs)), (-1, self.num_tokens, width))
