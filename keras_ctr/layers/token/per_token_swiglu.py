from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.per_token import per_token_glorot, per_token_matmul


class PerTokenSwiGLU(Layer):
    """A gated feed-forward network per token: `W_down (Swish(W_gate x) ⊙ W_up x)`.

    Args:
        expansion: width of the hidden layer over `D`.
        use_bias: whether each of the three maps has a bias.
        down_scale: factor on the initial `W_down`; a small one makes the increment start small.
        router: optional layer `(B, T, D)` -> `(B, T, E)`, an `ExpertRouter`. The hidden layer is
            then `E` experts of equal width, weighted by it.

    Call arguments:
        x: tokens `(B, T, D)` with static `T`.
        mask: ignored.

    Returns:
        `(B, T, D)`.

    Reference:
        "TokenMixer-Large", arXiv 2602.06563 (without biases, `W_down` scaled by 0.01), and
        "UniMixer", arXiv 2604.00590 (with biases).
    """

    takes = {"x": "(B, T, D)"}

    def __init__(self, expansion=2, use_bias=True, down_scale=1.0, router=None, **kwargs):
        super().__init__(**kwargs)
        self.expansion = expansion
        self.use_bias = use_bias
        self.down_scale = down_scale
        self.router = router

    def build(self, input_shape):
        _, tokens, width = input_shape
        hidden = self.expansion * width
        if self.router is not None:
            experts = self.router.num_experts
            if hidden % experts:
                fitting = [e for e in range(2, hidden + 1) if hidden % e == 0]
                raise ValueError(
                    f"`num_experts` must divide the hidden width {hidden}: one of {fitting}. "
                    f"Received: num_experts={experts}"
                )
            if not self.router.built:
                self.router.build(input_shape)
        self.gate, self.gate_bias = self._maps("gate", (tokens, width, hidden))
        self.up, self.up_bias = self._maps("up", (tokens, width, hidden))
        self.down, self.down_bias = self._maps("down", (tokens, hidden, width), self.down_scale)

    def _maps(self, name, shape, scale=1.0):
        glorot = per_token_glorot(shape[0], scale)
        kernel = self.add_weight(shape=shape, initializer=glorot, name=name)
        if not self.use_bias:
            return kernel, 0
        bias = (shape[0], shape[2])
        return kernel, self.add_weight(shape=bias, initializer="zeros", name=f"{name}_bias")

    def call(self, x, mask=None):
        gate = per_token_matmul(x, self.gate) + self.gate_bias
        up = per_token_matmul(x, self.up) + self.up_bias
        hidden = ops.silu(gate) * up  # (B, T, expansion·D)
        if self.router is not None:
            hidden = self._by_expert(hidden, self.router(x))
        return per_token_matmul(hidden, self.down) + self.down_bias

    def _by_expert(self, hidden, weights):
        _, tokens, width = hidden.shape
        experts = self.router.num_experts
        hidden = ops.reshape(hidden, (-1, tokens, experts, width // experts))
        hidden = hidden * ops.cast(weights[..., None], hidden.dtype)
        return ops.reshape(hidden, (-1, tokens, width))

    def compute_output_shape(self, input_shape):
        return input_shape
