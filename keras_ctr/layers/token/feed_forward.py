from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.per_token_dense import PerTokenDense


class FeedForward(Layer):
    """`Dense → activation → Dense` on every token, with kernels shared or own per token.

    Args:
        expansion: width of the hidden layer over `D`.
        own_tokens: as in `PerTokenDense`.
        activation: name of a Keras activation. OneTrans does not state its own; GELU is what its
            public re-implementations use.

    Call arguments:
        x: tokens `(B, T, D)`.
        first: optional `(1, P, D)`, tokens before all rows, see `Stack`.

    Returns:
        `(B, T, D)`. With `first`: a pair of theirs and this.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)", "first": "(1, P, D)"}

    def __init__(self, expansion=4, own_tokens=0, activation="gelu", **kwargs):
        super().__init__(**kwargs)
        self.expansion = expansion
        self.own_tokens = own_tokens
        self.activation = activation

    def build(self, input_shape):
        width = input_shape[-1]
        options = {"own_tokens": self.own_tokens, "dtype": self.dtype_policy}
        self.up = PerTokenDense(self.expansion * width, activation=self.activation, **options)
        self.down = PerTokenDense(width, **options)
        self.up.build(input_shape)
        self.down.build((*input_shape[:-1], self.expansion * width))

    def call(self, x, mask=None, first=None):
        if first is None:
            return self.down(self.up(x))
        first = self.down(self.up(first, before=True), before=True)
        return first, self.down(self.up(x))

    def compute_output_shape(self, input_shape):
        return input_shape
