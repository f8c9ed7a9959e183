import keras
from keras import ops

from keras_ctr.layers._base import Layer
from keras_ctr.layers.mlp import MLP


class FeatureSelection(Layer):
    """Weights every number of the embeddings, seen from a context: `x ⊙ 2σ(MLP(context))`.

    Without a context it is a learned vector of width `D` that starts at zero, and the weights are
    the same for every row.

    Args:
        hidden_units: widths of the gate's hidden layers.

    Call arguments:
        inputs: field embeddings `(B, F, D)`; or a list of them and the context `(B, C)`.

    Returns:
        `(B, F, D)`.

    Reference:
        Mao et al., "FinalMLP", arXiv 2304.00902: stream-specific feature selection.
    """

    def __init__(self, hidden_units=(64,), **kwargs):
        super().__init__(**kwargs)
        self.hidden_units = hidden_units
        self.gate = MLP(hidden_units, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.context = None
        if isinstance(input_shape[0], int | None):
            shape, context_shape = input_shape, (1, input_shape[-1])
            self.context = self.add_weight(shape=context_shape, initializer="zeros", name="context")
        else:
            shape, context_shape = input_shape
        self.gate.build(context_shape)
        self.project = keras.layers.Dense(
            shape[1] * shape[2], kernel_initializer="glorot_normal", dtype=self.dtype_policy
        )
        self.project.build((context_shape[0], self.hidden_units[-1]))

    def call(self, inputs):
        x, context = inputs if self.context is None else (inputs, self.context)
        weights = 2 * ops.sigmoid(self.project(self.gate(context)))
        return x * ops.reshape(weights, (-1, *x.shape[1:]))
