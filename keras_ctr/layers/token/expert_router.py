from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.per_token import per_token_glorot, per_token_matmul


class ExpertRouter(Layer):
    """Per-token weights of experts: a shared one that always counts, and the best of the others.

    With `E` experts of which `k` are active, the last one is shared and has weight 1; of the other
    `E - 1` the `k - 1` with the highest logits `g_t(x_t)` get `α · softmax` over themselves, the
    rest 0. `α = E / k`, the inverse of the active share. Every token has a router of its own, in
    training as in inference; there is no load-balancing loss.

    All experts are computed and those not chosen are multiplied by zero: the sparsity is one of
    the function, not yet of the arithmetic.

    Args:
        num_experts: number of experts `E`, the shared one included.
        num_active: number of experts `k` that count for a token, the shared one included.

    Call arguments:
        x: tokens `(B, T, D)` with static `T`.

    Returns:
        Weights `(B, T, E)`; the logits and the softmax are float32 under every dtype policy.

    Reference:
        "TokenMixer-Large", arXiv 2602.06563, sparse per-token mixture of experts. `α` is there
        about 2 where half of the experts are active and 4 where a quarter is.
    """

    takes = {"x": "(B, T, D)"}

    def __init__(self, num_experts=4, num_active=2, **kwargs):
        super().__init__(**kwargs)
        if not 2 <= num_active <= num_experts:
            raise ValueError(
                "`num_active` must lie in [2, num_experts]: the shared expert and at least one "
                f"other. Received: num_active={num_active}, num_experts={num_experts}"
            )
        self.num_experts = num_experts
        self.num_active = num_active

    def build(self, input_shape):
        _, tokens, width = input_shape
        self.kernel = self.add_weight(
            shape=(tokens, width, self.num_experts - 1),
            initializer=per_token_glorot(tokens),
            autocast=False,
            name="kernel",
        )

    def call(self, x):
        logits = per_token_matmul(ops.cast(x, "float32"), self.kernel)
        _, best = ops.top_k(logits, self.num_active - 1)  # (B, T, k - 1)
        chosen = ops.sum(ops.one_hot(best, self.num_experts - 1, dtype="float32"), axis=-2)
        # By hand: a softmax over a single expert is allowed here (k = E = 2).
        odds = chosen * ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
        weights = odds / ops.sum(odds, axis=-1, keepdims=True)
        weights = self.num_experts / self.num_active * weights
        weights = ops.concatenate([weights, ops.ones_like(weights[..., :1])], axis=-1)
        return ops.cast(weights, x.dtype)  # (B, T, E)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_experts)
