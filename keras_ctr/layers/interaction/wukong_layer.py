import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.interaction.factorization_machine_block import FactorizationMachineBlock


class WukongLayer(Layer):
    """Pairwise products beside linear recombinations: `X' = LN([FMB(X); W_L X] + R(X))`.

    The vectors of `FMB` are of twice the order of the input's, those of the linear compression
    `W_L X` of the same; so a stack of `l` layers reaches every order up to `2^l`.

    `R(X)` is `X` where the number of vectors stays the same, otherwise a learned `W_R X`. Neither
    matrix has a bias: they recombine vectors, dimension by dimension.

    Args:
        fm_tokens: vectors from the factorization machine block, the paper's `n_F`.
        linear_tokens: vectors from the linear compression block, the paper's `n_L`.
        rank, hidden_units, dropout: of `FactorizationMachineBlock`.

    Call arguments:
        x: vectors `(B, T, D)` with static `T`.

    Returns:
        `(B, fm_tokens + linear_tokens, D)`.

    Reference:
        Zhang et al., "Wukong", arXiv 2403.02545: interaction layer.
    """

    takes = {"x": "(B, T, D)"}

    def __init__(
        self,
        fm_tokens=40,
        linear_tokens=40,
        rank=8,
        hidden_units=(512, 256),
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(linear_tokens=linear_tokens)
        self.fm_tokens = fm_tokens
        self.linear_tokens = linear_tokens
        self.rank = rank
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.fm = FactorizationMachineBlock(
            fm_tokens, rank, hidden_units, dropout, dtype=self.dtype_policy
        )
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy)

    def build(self, input_shape):
        batch, tokens, width = input_shape
        leaving = self.fm_tokens + self.linear_tokens
        self.fm.build(input_shape)
        self.linear = self._recombination(tokens, self.linear_tokens, "linear")
        self.shortcut = None
        if leaving != tokens:
            self.shortcut = self._recombination(tokens, leaving, "shortcut")
        self.norm.build((batch, leaving, width))

    def _recombination(self, tokens, leaving, name):
        return self.add_weight(shape=(tokens, leaving), initializer="glorot_uniform", name=name)

    def call(self, x, training=None):
        linear = ops.einsum("btd,tn->bnd", x, self.linear)  # (B, n_L, D)
        new = ops.concatenate([self.fm(x), linear], axis=1)  # (B, n_F + n_L, D)
        if self.shortcut is not None:
            x = ops.einsum("btd,tn->bnd", x, self.shortcut)
        return self.norm(new + x)
