import keras
from keras import ops

from keras_ctr.layers.base import Layer


class Dice(Layer):
    """PReLU whose corner is where the data are: `p ⊙ x + α ⊙ (1 - p) ⊙ x`, `p = σ(BN(x))`.

    The normalisation `(x - E[x]) / √(Var[x] + ε)` has no weights of its own; it takes the
    statistics of the batch in training, their moving averages otherwise.

    Args:
        epsilon: `ε`, the paper's 1e-8.
        momentum: share of a moving average that one step keeps; 0.99 is what the authors' code has.
        alpha_initializer: of `α`, one number per channel. The authors' code starts at 0.

    Call arguments:
        x: `(..., K)`.
        mask: optional bool, the shape of `x` without its last axis: where it is False, the values
            do not enter the statistics.

    Returns:
        The shape of `x`.

    Reference:
        Zhou et al., "Deep Interest Network", arXiv 1706.06978, eqs. (8) and (9).
    """

    def __init__(self, epsilon=1e-8, momentum=0.99, alpha_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.momentum = momentum
        self.alpha_initializer = alpha_initializer
        self.norm = keras.layers.BatchNormalization(
            momentum=momentum, epsilon=epsilon, center=False, scale=False, dtype=self.dtype_policy
        )

    def build(self, input_shape):
        self.norm.build(input_shape)
        self.alpha = self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.get(self.alpha_initializer),
            name="alpha",
        )

    def call(self, x, mask=None, training=None):
        p = ops.sigmoid(self.norm(x, mask=mask))
        return x * (p + self.alpha * (1 - p))

    def compute_output_shape(self, input_shape):
        return input_shape
