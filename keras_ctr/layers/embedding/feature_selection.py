import keras
from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.tower.mlp import MLP


class FeatureSelection(Layer):
    """Weights every number of the embeddings, seen from a context: `x ⊙ 2σ(MLP(context))`.

    Unlike the paper, a selection without a context has no MLP: its weights are `2σ(v)` with one
    learned number `v` per dimension, at first 0. The paper's context is then a learned vector, the
    same for every row, so that its MLP says no more; and starting at zero, as in FuxiCTR, it stays
    there, since ReLU has no gradient at 0: only the last bias learns, which is our `v`.

    Args:
        hidden_units: widths of the gate's hidden layers.

    Call arguments:
        inputs: field embeddings `(B, F, D)`; or a list of them and the context `(B, C)`.

    Returns:
        `(B, F, D)`.

    Reference:
        Mao et al., "FinalMLP", arXiv 2304.00902: stream-specific feature selection.
    """

    takes = {"inputs": ("(B, F, D)", "(B, C)")}

    def __init__(self, hidden_units=(64,), **kwargs):
        super().__init__(**kwargs)
        self.hidden_units = hidden_units

    def build(self, input_shape):
        self.has_context = not isinstance(input_shape[0], int | None)
        if not self.has_context:
            self.logits = self.add_weight(shape=input_shape[1:], initializer="zeros", name="logits")
            return
        (batch, *shape), context_shape = input_shape
        self.gate = MLP(self.hidden_units, dtype=self.dtype_policy)
        self.gate.build(context_shape)
        self.project = keras.layers.Dense(
            shape[0] * shape[1], kernel_initializer="glorot_normal", dtype=self.dtype_policy
        )
        self.project.build((batch, self.hidden_units[-1]))

    def call(self, inputs):
        if not self.has_context:
            return inputs * 2 * ops.sigmoid(self.logits)
        x, context = inputs
        weights = 2 * ops.sigmoid(self.project(self.gate(context)))
        return x * ops.reshape(weights, (-1, *x.shape[1:]))
