"""`TwoStreams`: models whose two halves also answer for themselves while they learn."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class TwoStreams(CTRModel):
    """A model that averages the logits of two streams, and whose loss sees each of them too.

    In training `call` returns `(B, 3)`: the model's probability and those of the two streams;
    otherwise `(B, 1)`. So the extra terms act in training only, and evaluation reports the plain
    loss. A subclass says what the terms are: `stream_loss`.
    """

    others_are_clicks = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.project = [
            keras.layers.Dense(
                1, use_bias=False, kernel_initializer="glorot_normal", dtype="float32"
            )
            for _ in range(2)
        ]
        self.click = layers.Click()

    def fuse(self, first, second, training=None):
        """Returns the probabilities of two streams `(B, K)`; the widths may differ.

        Unlike in the papers' code, the streams share one bias.
        """
        first, second = (part(x) for part, x in zip(self.project, (first, second), strict=True))
        logits = [0.5 * (first + second)] + ([first, second] if training else [])
        return ops.concatenate([self.click(logit) for logit in logits], axis=-1)

    def stream_loss(self, y, whole, stream, sample_weight):
        """Returns what the loss gains by one stream's probabilities `(B, 1)`."""
        raise NotImplementedError

    def auxiliary_loss(self, y, click, others, sample_weight):
        streams = ops.split(others, others.shape[-1], axis=-1)
        return sum(self.stream_loss(y, click, stream, sample_weight) for stream in streams)
