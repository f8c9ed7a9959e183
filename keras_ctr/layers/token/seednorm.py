from keras import ops

from keras_ctr._checks import require_divisor
from keras_ctr.layers.base import Layer


class SeeDNorm(Layer):
    """RMSNorm whose gain depends on the vector itself, so that its length is not lost.

    `(tanh(x·βᵀ)·α + γ) ⊙ x / RMS(x)` with `RMS(x) = √(mean_d x_d² + ε)`. `x·βᵀ` is one number per
    vector, which the tanh bounds and `α` spreads over the dimensions.

    It starts as RMSNorm: `γ = 1`, `α = 1`, `β = 0` (inferred, the paper was not at hand). At
    `β = 0` only `β` and `γ` have a gradient; `α` follows after the first step. Computed in float32
    under every dtype policy.

    The paper warns of instability where vectors are long, and divides `x` by `D` inside the product
    or lowers the learning rate of `α` and `β`; neither is done here.

    Args:
        num_heads: parts of the vector with a number `x·βᵀ` each; must divide the width `D`. 1 is
            the basic form, more are the paper's multi-head variant.
        epsilon: `ε`; that of Keras's `RMSNormalization`.

    Call arguments:
        x: `(..., D)`.

    Returns:
        Of the same shape.

    Reference:
        "SeeDNorm: Self-Rescaled Dynamic Normalization", arXiv 2510.22777.
    """

    def __init__(self, num_heads=1, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.epsilon = epsilon

    def build(self, input_shape):
        width = input_shape[-1]
        require_divisor("the width", width, num_heads=self.num_heads)
        starts = {"gamma": "ones", "alpha": "ones", "beta": "zeros"}
        self.gamma, self.alpha, self.beta = (
            self.add_weight(shape=(width,), initializer=start, autocast=False, name=name)
            for name, start in starts.items()
        )

    def call(self, x):
        width = x.shape[-1]
        heads = (self.num_heads, width // self.num_heads)
        wide = ops.cast(x, "float32")
        products = ops.reshape(wide * self.beta, (*ops.shape(x)[:-1], *heads))
        dynamic = ops.tanh(ops.sum(products, axis=-1, keepdims=True))  # (..., H, 1)
        gain = dynamic * ops.reshape(self.alpha, heads)  # (..., H, D/H)
        gain = ops.reshape(gain, ops.shape(x)) + self.gamma
        mean_square = ops.mean(ops.square(wide), axis=-1, keepdims=True)
        return ops.cast(gain * wide * ops.rsqrt(mean_square + self.epsilon), x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
