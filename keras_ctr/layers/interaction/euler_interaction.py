import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer


class EulerInteraction(Layer):
    """Feature products of learned orders, made in the complex plane by Euler's formula.

    A complex vector `r + ip = λ e^{iθ}` per field. Adding up `α ln λ` and `α θ` over the fields
    multiplies them, each to the power `α`: `λ' = exp(α ln λ + b_λ)`, `θ' = α θ + b_θ`. To this
    explicit part an implicit one is added, the same dense layer on `r` and on `p`:

    `r' = ReLU(W r + c) + λ' cos θ'`, `p' = ReLU(W p + c) + λ' sin θ'`.

    Powers and angles are float32 under every dtype policy.

    Args:
        num_vectors: number of complex vectors `n` that come out.
        dropout: rate on `ln λ` and `θ`, and on what the dense layer reads.
        layer_norm: whether to normalise each vector that comes out.

    Call arguments:
        inputs: list of real and imaginary parts, each `(B, F, D)`.

    Returns:
        A pair of real and imaginary parts, each `(B, n, D)`.

    Reference:
        Tian et al., "EulerNet", SIGIR 2023; code reczoo/FuxiCTR. Powers start as the identity
        where `n = F`, otherwise all but one-hot: a softmax over the fields of normal numbers with
        standard deviation 100. Biases start normal with standard deviation 0.01.
    """

    takes = {"inputs": "(B, F, D)"}

    def __init__(self, num_vectors, dropout=0.0, layer_norm=False, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_vectors=num_vectors)
        self.num_vectors = num_vectors
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.drop_explicit = keras.layers.Dropout(dropout, dtype="float32")
        self.drop_implicit = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy)
            for _ in range(2 if layer_norm else 0)
        ]

    def build(self, input_shape):
        batch, fields, width = input_shape[0]
        options = {"autocast": False}
        self.powers = self.add_weight(
            shape=(fields, self.num_vectors), initializer=_first_powers, name="powers", **options
        )
        self.biases = [
            self.add_weight(
                shape=(self.num_vectors, width),
                initializer=keras.initializers.RandomNormal(stddev=0.01),
                name=name,
                **options,
            )
            for name in ("bias_magnitude", "bias_angle")
        ]
        self.implicit = keras.layers.Dense(
            self.num_vectors * width, "relu", dtype=self.dtype_policy
        )
        self.implicit.build((batch, fields * width))
        for norm in self.norms:
            norm.build((batch, self.num_vectors, width))

    def call(self, inputs, training=None):
        real, imaginary = (ops.cast(part, "float32") for part in inputs)
        logarithm = 0.5 * ops.log(ops.square(real) + ops.square(imaginary) + 1e-8)  # ln λ
        angle = ops.arctan2(imaginary, real)
        logarithm, angle = (
            ops.einsum("bfd,fn->bnd", self.drop_explicit(part), self.powers) + bias
            for part, bias in zip((logarithm, angle), self.biases, strict=True)
        )
        magnitude = ops.exp(logarithm)
        explicit = magnitude * ops.cos(angle), magnitude * ops.sin(angle)
        outputs = tuple(
            ops.cast(product, self.compute_dtype) + self._implicit(part)
            for product, part in zip(explicit, inputs, strict=True)
        )
        if not self.layer_norm:
            return outputs
        return tuple(norm(x) for norm, x in zip(self.norms, outputs, strict=True))

    def _implicit(self, x):
        _, fields, width = x.shape
        x = self.drop_implicit(ops.reshape(x, (-1, fields * width)))
        return ops.reshape(self.implicit(x), (-1, self.num_vectors, width))


def _first_powers(shape, dtype=None):
    if shape[0] == shape[1]:
        return ops.eye(shape[0], dtype=dtype)
    return ops.softmax(keras.initializers.RandomNormal(stddev=100.0)(shape, dtype), axis=0)
