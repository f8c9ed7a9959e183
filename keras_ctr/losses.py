"""The default loss: log loss on probabilities that behaves like a loss on logits."""

import contextlib
import math

import keras
from keras import ops

# The smallest a float32 probability p = sigmoid(z) and its complement 1 - p can be before they
# round to 0: below these the logarithm is cut off, so that log loss is never infinite.
SMALLEST_P = 1.2e-38
SMALLEST_COMPLEMENT = 2.0**-25


@keras.saving.register_keras_serializable(package="keras_ctr")
class LogLoss(keras.losses.Loss):
    """`-y·ln(p) - (1 - y)·ln(1 - p)` for a probability `p = sigmoid(z)`, in float32.

    Keras's `BinaryCrossentropy` clips `p` to `[1e-7, 1 - 1e-7]`, which silences the gradient of
    every confident example. Here nothing is clipped that float32 can tell from 0 or 1: the
    gradient with respect to the logit is `p - y` for `z` from -30 to 15.

    Call arguments:
        y_true: `(B, 1)` or `(B,)`, 0 or 1.
        y_pred: `(B, 1)`, probabilities in float32; or `(B, n)`, several for each label.

    Returns:
        The mean over the batch (or as `reduction` says), weighted if sample weights are given.

    Raises:
        ValueError: labels of another shape. They are never broadcast over the rows of a batch.
    """

    def __init__(self, reduction="sum_over_batch_size", name="logloss", **kwargs):
        super().__init__(reduction=reduction, name=name, **kwargs)

    _negatives = 1.0

    @contextlib.contextmanager
    def of_sampled(self, negatives):
        """While open, the loss is that of `on_sampled_odds(p, negatives)`, as exact as that of `p`.

        Near 1 the sampled probability itself has fewer digits in float32 than `p`. So it is not
        computed: its loss is `loss(p) + ln(p + r·(1 - p)) - (1 - y)·ln(r)`.
        """
        self._negatives = negatives
        try:
            yield
        finally:
            self._negatives = 1.0

    def call(self, y_true, y_pred):
        y_pred = ops.convert_to_tensor(y_pred, dtype="float32")
        y_true = ops.cast(y_true, "float32")
        if len(y_true.shape) == len(y_pred.shape) - 1:
            y_true = ops.expand_dims(y_true, -1)
        known = (1, y_pred.shape[-1], None)  # None: TensorFlow does not know it yet
        if len(y_true.shape) != len(y_pred.shape) or y_true.shape[-1] not in known:
            raise ValueError(
                "Labels must have shape (B, 1) or (B,). "
                f"Received: labels {tuple(y_true.shape)}, predictions {tuple(y_pred.shape)}"
            )
        log_p = ops.log(ops.maximum(y_pred, SMALLEST_P))
        log_complement = ops.log(ops.maximum(1.0 - y_pred, SMALLEST_COMPLEMENT))
        loss = -y_true * log_p - (1.0 - y_true) * log_complement
        if self._negatives < 1.0:
            rate = self._negatives
            loss = loss + ops.log(y_pred + rate * (1.0 - y_pred)) - (1.0 - y_true) * math.log(rate)
        return ops.mean(loss, axis=-1)


def on_sampled_odds(p, negatives):
    """Returns the click probability among rows of which only a share of the negatives is kept.

    `p / (p + r·(1 - p))`, of which the logit is that of `p` less `ln(r)`.

    Args:
        p: float32 tensor of probabilities among all rows.
        negatives: the share `r` in (0, 1].

    Reference:
        King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9(2), 2001,
        eq. (7), the prior correction. Its inverse is in He et al., "Practical Lessons from
        Predicting Clicks on Ads at Facebook", ADKDD 2014, section 6.3.
    """
    return p if negatives == 1.0 else p / (p + negatives * (1.0 - p))
