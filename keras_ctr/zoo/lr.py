"""Logistic regression. Card: zoo/lr/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class LR(CTRModel):
    """Logistic regression: `p = σ(b + Σ_i w_i)`, one learned weight per value of each field.

    Args: none.

    Example:

    >>> model = keras_ctr.zoo.get("lr").adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Richardson et al., "Predicting Clicks", WWW 2007.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.linear = layers.FeatureEmbedding(1, dtype="float32")
        self.click = layers.Click()

    def call(self, batch, training=None):
        return self.click(ops.sum(self.linear(batch), axis=1))
