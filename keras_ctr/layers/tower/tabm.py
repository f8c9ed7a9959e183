import math

import keras
import numpy as np
from keras import ops

from keras_ctr._checks import require_positive, require_widths
from keras_ctr.layers.base import Layer
from keras_ctr.layers.tower.activations import activation_layer
from keras_ctr.layers.tower.signs import Signs


class TabM(Layer):
    """A tower that is an ensemble of towers, which share all but a few of their weights.

    Member `i` computes `act((x ⊙ r_i) W ⊙ s_i + b_i)` in each layer: the matrix `W` is shared, the
    vectors `r_i`, `s_i` and `b_i` are its own. In the first layer `r_i` starts as random signs, so
    that members see their input differently; all other `r` and `s` start at one. `Click` gives
    each member an output of its own and trains it by its own loss; the model's probability is the
    mean of theirs.

    Args:
        hidden_units: list with the width of each layer.
        activation: name of a Keras activation.
        dropout: rate after each activation.
        members: number of members `M`; the paper has 32, here 16 by default, for half of the time.

    Call arguments:
        x: `(B, K)`, or `(B, F, D)`, which is flattened.

    Returns:
        `(B, M, hidden_units[-1])`.

    Reference:
        Gorishniy et al., "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
        Ensembling", arXiv 2410.24210, section 3.2. Kernels and biases start uniform in `±1/√K`, as
        in its code.
    """

    takes = {"x": "(B, K) or (B, F, D)"}

    def __init__(self, hidden_units, activation="relu", dropout=0.1, members=16, **kwargs):
        super().__init__(**kwargs)
        require_widths(hidden_units=hidden_units)
        require_positive(members=members)
        self.hidden_units = hidden_units
        self.activation = activation
        self.dropout = dropout
        self.members = members
        self.activations = [activation_layer(activation, self.dtype_policy) for _ in hidden_units]
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        width = int(np.prod(input_shape[1:]))
        self._width = width
        self.layers = []
        for at, units in enumerate(self.hidden_units):
            uniform = keras.initializers.RandomUniform(-1 / math.sqrt(width), 1 / math.sqrt(width))
            weights = {
                "inward": ((self.members, width), Signs() if at == 0 else "ones"),
                "kernel": ((width, units), uniform),
                "outward": ((self.members, units), "ones"),
                "bias": ((self.members, units), uniform.clone()),
            }
            self.layers.append(
                [
                    self.add_weight(shape=shape, initializer=initializer, name=f"{name}_{at}")
                    for name, (shape, initializer) in weights.items()
                ]
            )
            self.activations[at].build((None, self.members, units))
            width = units

    def call(self, x, training=None):
        x = ops.reshape(x, (-1, 1, self._width))  # (B, 1, K): the same for all members
        for (inward, kernel, outward, bias), activation in zip(
            self.layers, self.activations, strict=True
        ):
            x = ops.matmul(x * inward, kernel) * outward + bias  # (B, M, K')
            x = self.drop(activation(x), training=training)
        return x
