import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer


class Cross(Layer):
    """The cross network of DCN-V2: `x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l`.

    Layer `l` raises the highest polynomial degree of the features by one. keras-rs does the same
    thing as well: one of its `FeatureCross` is one of these layers, and can have a low rank.

    Args:
        num_layers: number of cross layers `L`.

    Call arguments:
        x: `(B, K)`, or `(B, F, D)`, which is flattened.

    Returns:
        `(B, K)`, with `K = F·D` for a flattened input.

    Reference:
        Wang et al., "DCN V2", arXiv 2008.13535, eq. (1).
    """

    takes = {"x": "(B, K) or (B, F, D)"}

    def __init__(self, num_layers=3, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_layers=num_layers)
        self.num_layers = num_layers
        self.flatten = keras.layers.Flatten(dtype=self.dtype_policy)

    def build(self, input_shape):
        width = self.flatten.compute_output_shape(input_shape)[-1]
        self.kernels = [
            self.add_weight(
                shape=(width, width), initializer="glorot_normal", name=f"kernel_{layer}"
            )
            for layer in range(self.num_layers)
        ]
        self.biases = [
            self.add_weight(shape=(width,), initializer="zeros", name=f"bias_{layer}")
            for layer in range(self.num_layers)
        ]

    def call(self, x):
        x = first = self.flatten(x)  # (B, K)
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            x = first * (ops.matmul(x, kernel) + bias) + x
        return x
