from keras import ops

from keras_ctr._checks import require_divisor
from keras_ctr.layers.base import Layer


class TokenMixing(Layer):
    """Exchanges parts between tokens, without weights: mixed token `h` is part `h` of every token.

    Each token is cut into `H` parts; the parts at the same place, one from every token, are joined
    to a new token: reshape `(B, T, H, D/H)`, swap the two middle axes, reshape to `(B, H, T·D/H)`.
    Mixing the result with `T` heads is the inverse.

    Args:
        num_heads: number of parts `H`; must divide the width `D`. With `H = T` the shape is kept.

    Call arguments:
        x: tokens `(B, T, D)` with static `T`.
        mask: ignored; there so that the layer can be a unit of a `Stack`.

    Returns:
        `(B, H, T·D/H)`.

    Reference:
        "RankMixer", arXiv 2507.15551, with `H = T`; any `H` in "TokenMixer-Large", arXiv
        2602.06563.
    """

    takes = {"x": "(B, T, D)"}

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        require_divisor("the token width", input_shape[-1], num_heads=self.num_heads)

    def call(self, x, mask=None):
        return mix(x, self.num_heads)

    def compute_output_shape(self, input_shape):
        return mixed_shape(input_shape, self.num_heads)


def mix(x, num_heads):
    """Returns `x` `(B, T, D)` mixed to `(B, H, T·D/H)`; its inverse is `mix(·, T)`."""
    _, tokens, width = x.shape
    x = ops.reshape(x, (-1, tokens, num_heads, width // num_heads))
    x = ops.swapaxes(x, 1, 2)  # (B, H, T, D/H)
    return ops.reshape(x, (-1, num_heads, tokens * width // num_heads))


def mixed_shape(shape, num_heads):
    """Returns the shape of `mix(x, num_heads)` for an `x` of `shape`."""
    batch, tokens, width = shape
    return batch, num_heads, tokens * width // num_heads
