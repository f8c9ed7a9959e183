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


class FactorizedInteractionBlock(Layer):
    """A tower of factorized interactions, each followed by `BatchNorm → activation → Dropout`.

    Args:
        hidden_units: list with the width of each layer, all even.
        activation: name of a Keras activation.
        dropout: rate after each activation.

    Call arguments:
        x: `(B, K)`, or `(B, F, D)`, which is flattened.

    Returns:
        `(B, hidden_units[-1])`.

    Reference:
        As `FactorizedInteraction`. BatchNorm has momentum 0.9 and epsilon 1e-5, as in `MLP`.
    """

    def __init__(self, hidden_units, activation="relu", dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        if not hidden_units:
            raise ValueError(f"`hidden_units` must not be empty. Received: {hidden_units}")
        self.hidden_units = hidden_units
        self.activation = activation
        self.dropout = dropout
        options = {"dtype": self.dtype_policy}
        self.parts = [keras.layers.Flatten(**options)]
        for units in hidden_units:
            self.parts += [
                FactorizedInteraction(units, **options),
                keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **options),
                keras.layers.Activation(activation, **options),
                keras.layers.Dropout(dropout, **options),
            ]

    def build(self, input_shape):
        for part in self.parts:
            part.build(input_shape)
            input_shape = part.compute_output_shape(input_shape)

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x)  # Keras hands `training` on to every part that asks for it
        return x
