from keras import ops

from keras_ctr.layers.residuals.base import Residual, rms_normed, tail


class Siamese(Residual):
    """SiameseNorm: two streams, one normalised after every unit, one never.

    A unit sees `X_l + RMSNorm(Y_l)`; its increment `O` goes to both:
    `X_{l+1} = RMSNorm(X_l + O)`, as in Post-Norm, and `Y_{l+1} = Y_l + O`, as in Pre-Norm. Both
    start as the stack's input; the output is what a further unit would see.

    Reference:
        "UniMixer", arXiv 2604.00590.
    """

    def build(self, input_shape):
        super().build(input_shape)
        options = {"initializer": "ones"}
        self.read_gain = self.add_weight(
            shape=(self.depth + 1, self.width), name="read_gain", **options
        )
        self.write_gain = self.add_weight(
            shape=(self.depth, self.width), name="write_gain", **options
        )

    def open(self, x):
        return x, x

    def read(self, state, at):
        x, y = state
        return x + ops.cast(rms_normed(y) * self.read_gain[at], x.dtype), state

    def write(self, kept, y, at):
        post, pre = (tail(stream, y) + y for stream in kept)
        return ops.cast(rms_normed(post) * self.write_gain[at], post.dtype), pre
