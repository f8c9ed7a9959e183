from keras import ops

from keras_ctr.losses import SMALLEST_COMPLEMENT, SMALLEST_P


class Platt:
    """`sigmoid(slope · logit + bias)`, in float32.

    Args:
        slope: number; where it is positive, the order of the predictions stays.
        bias: number.

    Reference:
        Platt, "Probabilistic Outputs for Support Vector Machines", 1999, there of a margin.
    """

    method = "platt"

    def __init__(self, slope, bias):
        self.slope, self.bias = float(slope), float(bias)

    def __call__(self, p, logits=None):
        """Returns calibrated probabilities, of the shape of `p`; `logits` are those of `p`."""
        if logits is None:  # p is a mean of several
            log_complement = ops.log(ops.maximum(1.0 - p, SMALLEST_COMPLEMENT))
            logits = ops.log(ops.maximum(p, SMALLEST_P)) - log_complement
        return ops.sigmoid(self.slope * logits + self.bias)

    def to_dict(self):
        """Returns the method and its numbers, for a config: the inverse of `recalibration`."""
        return {"method": self.method, "slope": self.slope, "bias": self.bias}
