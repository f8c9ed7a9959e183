import numpy as np
from keras import ops

from keras_ctr.losses import SMALLEST_P


class Isotonic:
    """Linear interpolation between points `(x, y)`, in float32; constant beyond the outermost.

    Args:
        x: increasing probabilities.
        y: as many probabilities that do not decrease.
    """

    method = "isotonic"

    def __init__(self, x, y):
        self.x, self.y = (np.atleast_1d(np.asarray(a, "float32")) for a in (x, y))
        if len(self.x) == 1:
            self.x, self.y = np.repeat(self.x, 2), np.repeat(self.y, 2)

    def __call__(self, p, logits=None):
        """Returns calibrated probabilities, of the shape of `p`."""
        x, y = ops.convert_to_tensor(self.x), ops.convert_to_tensor(self.y)
        flat = ops.reshape(p, (-1,))
        at = ops.clip(ops.searchsorted(x, flat, side="right") - 1, 0, len(self.x) - 2)
        low, high = ops.take(x, at), ops.take(x, at + 1)
        part = ops.clip((flat - low) / ops.maximum(high - low, SMALLEST_P), 0.0, 1.0)
        y = (1.0 - part) * ops.take(y, at) + part * ops.take(y, at + 1)
        return ops.reshape(y, ops.shape(p))

    def to_dict(self):
        """Returns the method and its numbers, for a config: the inverse of `recalibration`."""
        points = {"x": self.x, "y": self.y}
        return {"method": self.method} | {name: a.tolist() for name, a in points.items()}
