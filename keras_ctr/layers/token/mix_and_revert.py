from keras_ctr.layers.base import Layer
from keras_ctr.layers.depth.units import increment
from keras_ctr.layers.token.token_mixing import TokenMixing, mix, mixed_shape


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

    takes = {"x": "(B, T, D)"}

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
        mixed = increment(self.unit, self.mixing(x))  # (B, H, T·D/H)
        return mix(mixed, x.shape[1])

    def compute_output_shape(self, input_shape):
        return input_shape
