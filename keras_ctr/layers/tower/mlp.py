import keras

from keras_ctr._checks import require_widths
from keras_ctr.layers.base import Layer
from keras_ctr.layers.depth.units import build_in_turn
from keras_ctr.layers.tower.activations import activation_layer


class MLP(Layer):
    """A tower of fully connected layers, each `Dense → (BatchNorm) → activation → Dropout`.

    The block order, Xavier-normal kernels and the BatchNorm constants (momentum 0.9, epsilon 1e-5)
    are those of the BARS benchmark.

    Args:
        hidden_units: list with the width of each layer.
        activation: name of a Keras activation, or `"dice"`, see `Dice`.
        dropout: rate after each activation.
        batch_norm: whether to normalise before each activation.

    Call arguments:
        x: `(B, K)`, or `(B, F, D)`, which is flattened.

    Returns:
        `(B, hidden_units[-1])`.
    """

    takes = {"x": "(B, K) or (B, F, D)"}

    def __init__(self, hidden_units, activation="relu", dropout=0.0, batch_norm=False, **kwargs):
        super().__init__(**kwargs)
        require_widths(hidden_units=hidden_units)
        self.hidden_units = hidden_units
        self.activation = activation
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.parts = [keras.layers.Flatten(dtype=self.dtype_policy)]
        for units in hidden_units:
            self.parts.append(
                keras.layers.Dense(
                    units, kernel_initializer="glorot_normal", dtype=self.dtype_policy
                )
            )
            if batch_norm:
                self.parts.append(
                    keras.layers.BatchNormalization(
                        momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy
                    )
                )
            self.parts.append(activation_layer(activation, self.dtype_policy))
            if dropout:
                self.parts.append(keras.layers.Dropout(dropout, dtype=self.dtype_policy))

    def build(self, input_shape):
        build_in_turn(self.parts, input_shape)

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x)  # Keras hands `training` on to every part that asks for it
        return x
