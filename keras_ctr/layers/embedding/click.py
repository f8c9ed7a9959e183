import keras
from keras import ops

from keras_ctr.layers.base import Layer


class Click(Layer):
    """The way out of every model: `sigmoid(bias + sum of logits)`, in float32 under every policy.

    A part of width 1 is a logit already. A wider part is first projected to one by a learned
    vector; since `Dense(1)` over a concatenation is a sum of such projections, "concatenate, then
    `Dense(1)`" is written as a list of parts.

    Call arguments:
        logits: tensor `(B, K)` or list of such tensors; the `K` may differ.

    Returns:
        Click probability `(B, 1)`, float32.
    """

    takes = {"logits": "(B, K)"}

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape):
        shapes = [input_shape] if isinstance(input_shape[0], int | None) else input_shape
        self.projections = [
            None
            if shape[-1] == 1
            else keras.layers.Dense(
                1, use_bias=False, kernel_initializer="glorot_normal", dtype="float32"
            )
            for shape in shapes
        ]
        for projection, shape in zip(self.projections, shapes, strict=True):
            if projection is not None:
                projection.build(shape)
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, logits):
        parts = logits if isinstance(logits, list | tuple) else [logits]
        total = self.bias
        for part, projection in zip(parts, self.projections, strict=True):
            total = total + (part if projection is None else projection(part))
        return ops.sigmoid(total)
