import keras
from keras import ops

from keras_ctr.layers.base import Layer


class FieldGate(Layer):
    """Adds to the fields a gated copy of each: `[e; e ⊙ g]`, `g = W e + b` over the field axis.

    A gate is linear and made of all fields, dimension by dimension. `W` starts at zero and `b` at
    one, so that the copy starts as the embeddings themselves.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, 2F, D)`.

    Reference:
        Zhu et al., "FINAL: Factorized Interaction Layer for CTR Prediction", SIGIR 2023; code
        reczoo/FuxiCTR.
    """

    takes = {"x": "(B, F, D)"}

    def build(self, input_shape):
        batch, fields, width = input_shape
        self.mix = keras.layers.Dense(
            fields, kernel_initializer="zeros", bias_initializer="ones", dtype=self.dtype_policy
        )
        self.mix.build((batch, width, fields))

    def call(self, x):
        gate = ops.transpose(self.mix(ops.transpose(x, (0, 2, 1))), (0, 2, 1))  # (B, F, D)
        return ops.concatenate([x, x * gate], axis=1)
