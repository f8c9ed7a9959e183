import math

import keras
from keras import ops

from keras_ctr._checks import require_not_negative, require_positive
from keras_ctr.layers.base import Layer


class AutoDis(Layer):
    """Embeds numbers as mixtures of learned buckets: which of them, is learnt end to end.

    Each column has `H` meta-embeddings `ME` and a small network that says how much of each:
    `h = LeakyReLU(w x)`, `x̃ = W h + α h`, `x̂ = softmax(x̃ / τ)`, and the embedding `x̂ᵀ ME`
    (sections 3.2 to 3.4: the aggregation by weighted average). The temperature is one constant for
    all columns. The softmax, and what it reads, are computed in float32 under every policy.

    Args:
        dim: embedding width `D`.
        num_buckets: `H`.
        temperature: `τ`; the smaller, the harder the buckets.
        skip: the control factor `α`.
        initializer: of the meta-embeddings. Default: normal with standard deviation 0.1.

    Call arguments:
        x: `(B, N)`, the values of `N` columns, best of about the same spread.

    Returns:
        `(B, N, D)`, in the compute dtype.

    Reference:
        Guo et al., "An Embedding Learning Framework for Numerical Features in CTR Prediction",
        arXiv 2012.08986. Sizes and initial values are our choice.
    """

    takes = {"x": "(B, N)"}

    def __init__(self, dim, num_buckets=16, temperature=1.0, skip=0.1, initializer=None, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # or `x` would be rounded before `call`
        require_positive(dim=dim, num_buckets=num_buckets)
        if not temperature > 0:
            raise ValueError(
                f"`temperature` must be a positive number. Received: temperature={temperature!r}"
            )
        require_not_negative(skip=skip)
        self.dim = dim
        self.num_buckets = num_buckets
        self.temperature = temperature
        self.skip = skip
        self.initializer = initializer

    def build(self, input_shape):
        columns, buckets = input_shape[-1], self.num_buckets
        self.inward = self.add_weight(
            shape=(columns, buckets),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="inward",
        )
        bound = math.sqrt(3 / buckets)
        self.mix = self.add_weight(
            shape=(columns, buckets, buckets),
            initializer=keras.initializers.RandomUniform(-bound, bound),
            name="mix",
        )
        self.buckets = self.add_weight(
            shape=(columns, buckets, self.dim),
            initializer=keras.initializers.get(
                self.initializer or keras.initializers.RandomNormal(stddev=0.1)
            ),
            name="buckets",
        )

    def call(self, x):
        x = ops.expand_dims(ops.cast(x, "float32"), -1)  # (B, N, 1)
        inward, mix = (ops.cast(weight, "float32") for weight in (self.inward, self.mix))
        hidden = ops.leaky_relu(x * inward, negative_slope=0.01)  # (B, N, H)
        scores = ops.einsum("bnh,nhk->bnk", hidden, mix) + self.skip * hidden
        shares = ops.softmax(scores / self.temperature, axis=-1)
        shares, buckets = (ops.cast(each, self.compute_dtype) for each in (shares, self.buckets))
        return ops.einsum("bnh,nhd->bnd", shares, buckets)
