import keras
from keras import ops

from keras_ctr._checks import require_even
from keras_ctr.layers.base import Layer


class FactorizedInteraction(Layer):
    """A fully connected layer that also multiplies: `[h_2; h_1 ⊙ h_2]`, `[h_2; h_1] = W x + b`.

    It has as many weights as a `Dense` layer of the same width, and doubles the degree of its
    input.

    Args:
        units: width of the output, an even number.

    Call arguments:
        x: `(B, K)`.

    Returns:
        `(B, units)`.

    Reference:
        Zhu et al., "FINAL: Factorized Interaction Layer for CTR Prediction", SIGIR 2023; code
        reczoo/FuxiCTR, residual type "concat".
    """

    takes = {"x": "(B, K)"}

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        require_even(units=units)
        self.units = units
        self.dense = keras.layers.Dense(
            units, kernel_initializer="glorot_normal", dtype=self.dtype_policy
        )

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        linear, factor = ops.split(self.dense(x), 2, axis=-1)
        return ops.concatenate([linear, linear * factor], axis=-1)

    def compute_output_shape(self, input_shape):
        return self.dense.compute_output_shape(input_shape)
