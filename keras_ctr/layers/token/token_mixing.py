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

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        require_divisor("the token width", input_shape[-1], num_heads=self.num_heads)

    def call(self, x, mask=None):
        return mix(x, self.num_heads)

    def compute_output_shape(self, input_shape):
        return mixed_shape(input_shape, self.num_heads)


class MixAndRevert(Layer):
    """Runs a unit on mixed tokens and puts its increment back: `Revert(f(Mix(x)))`.

    Since `Revert` is linear and `Revert(Mix(x)) = x`, adding this increment to `x` is the same as
    adding `f`'s to the mixed tokens and reverting the sum. That holds for any number of heads.

    Args:
        unit: layer `f` on the `H` mixed tokens, called as `f(x, mask=None)`; it returns its
            increment, in the shape of its input.
        num_heads: as in `TokenMixing`.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: ignored.

    Returns:
        The increment `(B, T, D)`, without `x`.

    Reference:
        "TokenMixer-Large", arXiv 2602.06563, mixing and reverting.
    """

    def __init__(self, unit, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.unit = unit
        self.num_heads = num_heads
        self.mixing = TokenMixing(num_heads, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.mixing.build(input_shape)
        if not self.unit.built:
            self.unit.build(mixed_shape(input_shape, self.num_heads))

    def call(self, x, mask=None, training=None):
        mixed = self.unit(self.mixing(x), mask=None)  # (B, H, T·D/H)
        return mix(mixed, x.shape[1])

    def compute_output_shape(self, input_shape):
        return input_shape


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
