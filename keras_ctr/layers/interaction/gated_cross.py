import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer


class GatedCross(Layer):
    """A cross network with an information gate: `c_{l+1} = c_0 ⊙ (W c_l + b) ⊙ σ(W_g c_l) + c_l`.

    The gate decides, for each row, how much of each new product is let through. Biases start
    uniform in `[0, 1)`, as in the authors' code.

    Args:
        num_layers: number of cross layers `L`.

    Call arguments:
        x: `(B, K)`, or `(B, F, D)`, which is flattened.

    Returns:
        `(B, K)`, with `K = F·D` for a flattened input.

    Reference:
        Wang et al., "Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction",
        CIKM 2023; code anonctr/GDCN.
    """

    takes = {"x": "(B, K) or (B, F, D)"}

    def __init__(self, num_layers=3, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_layers=num_layers)
        self.num_layers = num_layers
        self.flatten = keras.layers.Flatten(dtype=self.dtype_policy)

    def build(self, input_shape):
        width = self.flatten.compute_output_shape(input_shape)[-1]
        square = {"shape": (width, width), "initializer": "glorot_normal"}
        uniform = keras.initializers.RandomUniform(0.0, 1.0)
        self.parts = [
            (
                self.add_weight(**square, name=f"kernel_{layer}"),
                self.add_weight(shape=(width,), initializer=uniform.clone(), name=f"bias_{layer}"),
                self.add_weight(**square, name=f"gate_{layer}"),
            )
            for layer in range(self.num_layers)
        ]

    def call(self, x):
        x = first = self.flatten(x)  # (B, K)
        for kernel, bias, gate in self.parts:
            x = first * (ops.matmul(x, kernel) + bias) * ops.sigmoid(ops.matmul(x, gate)) + x
        return x
