import keras
from keras import ops

from keras_ctr._checks import require_even, require_positive
from keras_ctr.layers.base import Layer


class MaskedCross(Layer):
    """What the two cross networks of FCN (DCNv3) share: factors that are half masked.

    `C = [H; H ⊙ ReLU(LN(H))]`, `H = W x`: the second half is the first with noise masked out. `W`
    maps to half the width, so that a layer has half the weights of one of DCN-V2.
    """

    def __init__(self, num_layers=3, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_layers=num_layers)
        self.num_layers = num_layers
        self.dropout = dropout
        options = {"dtype": self.dtype_policy}
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-5, **options) for _ in range(num_layers)
        ]
        self.drops = [keras.layers.Dropout(dropout, **options) for _ in range(num_layers)]

    def build(self, input_shape):
        width = input_shape[-1]
        require_even(**{"width of the input": width})
        uniform = keras.initializers.RandomUniform(0.0, 1.0)
        self.kernels = [
            self.add_weight(
                shape=(width, width // 2), initializer="glorot_normal", name=f"kernel_{layer}"
            )
            for layer in range(self.num_layers)
        ]
        self.biases = [
            self.add_weight(shape=(width,), initializer=uniform.clone(), name=f"bias_{layer}")
            for layer in range(self.num_layers)
        ]
        for norm in self.norms:
            norm.build((*input_shape[:-1], width // 2))

    def factor(self, x, layer):
        """Returns `C + b` of a layer by its number."""
        half = ops.matmul(x, self.kernels[layer])
        mask = ops.relu(self.norms[layer](half))
        return ops.concatenate([half, half * mask], axis=-1) + self.biases[layer]
