import keras
from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.per_token import per_token_glorot, per_token_matmul


class PerTokenDense(Layer):
    """A `Dense` layer with its own kernel for each of the last tokens and one for all before them.

    OneTrans calls this mixed parametrisation: tokens made from unlike fields need unlike maps,
    events of one history do not, and events come first.

    Args:
        units: output width.
        own_tokens: how many tokens, counted from the end, have a kernel of their own; the tokens
            before them share one. `None`: every token has its own. 0: all share, as in `Dense`.
        activation: name of a Keras activation.
        use_bias: whether to add a bias, one per kernel.

    Call arguments:
        x: tokens `(B, T, D)` with static `T`.
        before: whether all of these tokens stand before those with a kernel of their own, which
            are not among them.

    Returns:
        `(B, T, units)`.

    Reference:
        Zhang et al., "OneTrans", arXiv 2510.26104, section on mixed parametrisation; with
        `own_tokens=None`, the per-token projections of RankMixer, arXiv 2507.15551.
    """

    takes = {"x": "(B, T, D)"}

    def __init__(self, units, own_tokens=None, activation=None, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.own_tokens = own_tokens
        self.activation = activation
        self.use_bias = use_bias

    def build(self, input_shape):
        _, tokens, width = input_shape
        self.own = tokens if self.own_tokens is None else self.own_tokens
        if self.own > tokens:
            raise ValueError(
                "`own_tokens` must not exceed the number of tokens. "
                f"Received: own_tokens={self.own_tokens} for {tokens} tokens"
            )
        self.shared_kernel = self.own_kernel = None
        if self.own < tokens:
            self.shared_kernel = self.add_weight(
                shape=(width, self.units), initializer="glorot_uniform", name="shared_kernel"
            )
            self.shared_bias = self._bias((self.units,), "shared_bias")
        if self.own:
            self.own_kernel = self.add_weight(
                shape=(self.own, width, self.units),
                initializer=per_token_glorot(self.own),
                name="own_kernel",
            )
            self.own_bias = self._bias((self.own, self.units), "own_bias")

    def _bias(self, shape, name):
        return self.add_weight(shape=shape, initializer="zeros", name=name) if self.use_bias else 0

    def call(self, x, before=False):
        own = 0 if before else self.own
        first_own = x.shape[1] - own
        outputs = []
        if first_own:
            # As one flat matrix: in three dimensions XLA's gradient takes twice as long.
            shared = ops.reshape(x[:, :first_own], (-1, x.shape[-1]))
            shared = ops.matmul(shared, self.shared_kernel) + self.shared_bias
            outputs.append(ops.reshape(shared, (-1, first_own, self.units)))
        if own:
            own = per_token_matmul(x[:, first_own:], self.own_kernel)
            outputs.append(own + self.own_bias)
        x = outputs[0] if len(outputs) == 1 else ops.concatenate(outputs, axis=1)
        return keras.activations.get(self.activation)(x)
