"""Activations by name: Keras's, and `"dice"`, which has weights."""

import keras

from keras_ctr.layers.tower.dice import Dice


def activation_layer(name, dtype):
    """Returns a new layer: `Dice()` for `"dice"`, else Keras's activation of that name."""
    return Dice(dtype=dtype) if name == "dice" else keras.layers.Activation(name, dtype=dtype)
