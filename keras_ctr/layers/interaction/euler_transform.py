from keras import ops

from keras_ctr.layers.base import Layer


class EulerTransform(Layer):
    """Takes embeddings for angles of complex vectors: `r = μ cos e`, `p = μ sin e`.

    `μ` is one learned length per field, at first 1.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        A pair of real and imaginary parts, each `(B, F, D)`.

    Reference:
        Tian et al., "EulerNet", SIGIR 2023: complex space mapping; code reczoo/FuxiCTR.
    """

    takes = {"x": "(B, F, D)"}

    def build(self, input_shape):
        self.length = self.add_weight(shape=(input_shape[1], 1), initializer="ones", name="length")

    def call(self, x):
        return self.length * ops.cos(x), self.length * ops.sin(x)
