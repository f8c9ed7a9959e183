import keras

from keras_ctr.layers.base import Layer
from keras_ctr.layers.depth.units import build_in_turn
from keras_ctr.layers.interaction.factorized_interaction import FactorizedInteraction


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

    takes = {"x": "(B, K) or (B, F, D)"}

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
        build_in_turn(self.parts, input_shape)

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x)  # Keras hands `training` on to every part that asks for it
        return x
