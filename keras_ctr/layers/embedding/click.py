import math

import keras
from keras import ops

from keras_ctr.layers.base import Layer


class Click(Layer):
    """The way out of every model: `sigmoid(bias + sum of logits)`, in float32 under every policy.

    A part of width 1 is a logit already. A wider part is first projected to one by a learned
    vector; since `Dense(1)` over a concatenation is a sum of such projections, "concatenate, then
    `Dense(1)`" is written as a list of parts.

    A part of rank 3 holds the features of an ensemble's members. Each member has a projection of
    its own, and adds its logit to those of all other parts; the probability is the mean of theirs.
    In training the loss is the mean of their losses, for which the model finds their probabilities
    in `members` (arXiv 2410.24210, section 3.2). All such parts must have the same `M`.

    A model's `recalibrate` gives it a map to calibrated probabilities, `recalibration`, which it
    applies outside of training.

    Call arguments:
        logits: tensor `(B, K)`, or `(B, M, K)` of `M` members, or list of such tensors; the `K`
            may differ.
        training: whether `members` is to be kept. The `call` of a model passes its own on: in a
            step on JAX, Keras does not do so by itself.

    Returns:
        Click probability `(B, 1)`, float32.

    Raises:
        ValueError: parts of different numbers of members.
    """

    takes = {"logits": "(B, K) or (B, M, K)"}
    members = None  # probabilities `(B, M)` of the last call, if that was in training
    recalibration = None  # an object of `layers.recalibration`

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape):
        shapes = [input_shape] if isinstance(input_shape[0], int | None) else input_shape
        self.projections = [
            None
            if shape[-1] == 1 or len(shape) == 3
            else keras.layers.Dense(
                1, use_bias=False, kernel_initializer="glorot_normal", dtype="float32"
            )
            for shape in shapes
        ]
        for projection, shape in zip(self.projections, shapes, strict=True):
            if projection is not None:
                projection.build(shape)
        members = {shape[1] for shape in shapes if len(shape) == 3}
        if len(members) > 1:
            raise ValueError(
                "All parts of rank 3 must have the same number of members. "
                f"Received: shapes {[tuple(shape) for shape in shapes]}"
            )
        # As a member's own `Dense(1)` would start: Xavier's variance, 2 / (inputs + outputs).
        self.vectors = [
            self.add_weight(
                shape=tuple(shape[1:]),
                initializer=keras.initializers.RandomNormal(stddev=math.sqrt(2 / (shape[2] + 1))),
                name="member_vectors",
                dtype="float32",
            )
            if len(shape) == 3
            else None
            for shape in shapes
        ]
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, logits, training=None):
        parts = logits if isinstance(logits, list | tuple) else [logits]
        total = self.bias
        for part, projection, vectors in zip(parts, self.projections, self.vectors, strict=True):
            if vectors is not None:
                part = ops.sum(part * vectors, axis=-1)  # (B, M)
            total = total + (part if projection is None else projection(part))
        found = ops.sigmoid(total)
        if any(vectors is not None for vectors in self.vectors):
            self.members = found if training else None  # what `compute_loss` has not read is stale
            found, total = ops.mean(found, axis=-1, keepdims=True), None
        if self.recalibration is None or training:
            return found
        return self.recalibration(found, total)
