from keras import ops

from keras_ctr._checks import require_divisor, require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.composite_projection import CompositeProjection
from keras_ctr.layers.token.per_token_dense import PerTokenDense
from keras_ctr.layers.token.self_attention import attention


class HeterogeneousAttention(Layer):
    """Multi-head attention whose projections know which token they project.

    Queries and outputs have a kernel per token. So have keys and values without `rank`; with one,
    they are composite: `[k_1; …; k_T] = [x_1; …; x_T]·A·B`, each token's key made from all tokens,
    `A` of shape `(T·D, rank)` and `B` of shape `(rank, T·D)`.

    Scores and softmax are float32 under every dtype policy. `A` and `B` start with variance
    `1 / fan_in`, so that keys and values start at the scale of the input (our choice).

    Args:
        num_heads: number of heads `H`; must divide the width `D`.
        rank: rank `r` of the composite projections; well below `T·D`, or it saves nothing. `None`:
            a kernel per token, the paper's heterogeneous attention layer.
        keep: only the last `keep` tokens ask, and only they come out. `None`: all.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: not used: fields are never padding. It is there for `Stack`.

    Returns:
        `(B, T, D)`, or `(B, min(keep, T), D)`.

    Reference:
        Gui et al., "Hiformer", arXiv 2311.05884. That queries stay per token while keys and values
        are composite follows one of two public re-implementations; the other makes all three so.
    """

    takes = {"x": "(B, T, D)"}

    def __init__(self, num_heads=4, rank=None, keep=None, **kwargs):
        super().__init__(**kwargs)
        optional = {"rank": rank, "keep": keep}
        require_positive(**{name: size for name, size in optional.items() if size is not None})
        self.num_heads = num_heads
        self.rank = rank
        self.keep = keep

    def build(self, input_shape):
        width = input_shape[-1]
        require_divisor("the token width", width, num_heads=self.num_heads)
        asking_shape = self.compute_output_shape(input_shape)
        self.asking = asking_shape[1]
        options = {"use_bias": False, "dtype": self.dtype_policy}
        self.query = PerTokenDense(width, **options)
        self.output_projection = PerTokenDense(width, **options)
        self.query.build(asking_shape)
        self.output_projection.build(asking_shape)
        if self.rank is None:
            self.key, self.value = PerTokenDense(width, **options), PerTokenDense(width, **options)
        else:
            self.key, self.value = (
                CompositeProjection(self.rank, dtype=self.dtype_policy) for _ in range(2)
            )
        self.key.build(input_shape)
        self.value.build(input_shape)

    def call(self, x, mask=None):
        tokens, width = x.shape[1:]
        heads = (self.num_heads, width // self.num_heads)
        query = ops.reshape(self.query(x[:, -self.asking :]), (-1, self.asking, *heads))
        key, value = (
            ops.reshape(part(x), (-1, tokens, *heads)) for part in (self.key, self.value)
        )  # (B, T, H, D/H)
        x = attention(query, key, value)
        return self.output_projection(ops.reshape(x, (-1, self.asking, width)))

    def compute_output_shape(self, input_shape):
        batch, tokens, width = input_shape
        return batch, tokens if self.keep is None else min(self.keep, tokens), width
