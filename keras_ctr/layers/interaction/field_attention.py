import keras
from keras import ops

from keras_ctr._checks import require_divisor
from keras_ctr.layers.base import Layer


class FieldAttention(Layer):
    """AutoInt's interacting layer: `ReLU(multi-head attention over fields + W_res X)`.

    Unlike the paper, `W_res` exists only where the widths differ, as in FuxiCTR; otherwise the
    residual is `X` itself. Scores are not scaled (as the paper's eq. 5) and softmax is float32.

    Args:
        dim: output width, all heads together.
        num_heads: number of heads `H`; must divide `dim`.

    Call arguments:
        x: `(B, F, D)`.

    Returns:
        `(B, F, dim)`.

    Reference:
        Song et al., "AutoInt", arXiv 1810.11921, eqs. (5) to (8).
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, dim=64, num_heads=2, **kwargs):
        super().__init__(**kwargs)
        require_divisor("`dim` =", dim, num_heads=num_heads)
        self.dim = dim
        self.num_heads = num_heads

    def build(self, input_shape):
        self.parts = 3 if input_shape[-1] == self.dim else 4
        self.project = [
            keras.layers.Dense(
                self.dim,
                use_bias=False,
                kernel_initializer="glorot_normal",
                dtype=self.dtype_policy,
            )
            for _ in range(self.parts)
        ]
        for part in self.project:
            part.build(input_shape)

    def call(self, x):
        heads = (-1, x.shape[1], self.num_heads, self.dim // self.num_heads)
        query, key, value = (ops.reshape(part(x), heads) for part in self.project[:3])
        scores = ops.einsum("bfhd,bghd->bhfg", query, key)
        weights = ops.cast(ops.softmax(ops.cast(scores, "float32")), value.dtype)
        mixed = ops.einsum("bhfg,bghd->bfhd", weights, value)
        mixed = ops.reshape(mixed, (-1, x.shape[1], self.dim))  # (B, F, dim)
        return ops.relu(mixed + (x if self.parts == 3 else self.project[3](x)))
