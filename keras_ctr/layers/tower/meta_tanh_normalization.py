from keras import ops

from keras_ctr._checks import require_choice, require_positive
from keras_ctr.layers.base import Layer


class MetaTanhNormalization(Layer):
    """Bounds a vector by a tanh whose slope a small learner reads off the vector itself.

    `W ⊙ tanh(s(x) ⊙ x)` with `s(x) = LeakyReLU(w·x' + b)`, where `x'` is `x` without gradient:
    the learner changes the slopes only through `w` and `b`. No statistic of the batch is involved,
    so a batch of one row gives what a large one gives. With `W = 1` every output lies in (-1, 1),
    hence its variance is at most 1.

    The two equations are known from a summary of the paper; shape, bias and initial values of the
    learner are our choice. A dense `w` is the default since an element-wise one makes `s(x)·x`
    positive for `w > 0`, whatever the sign of `x`.

    Args:
        meta: shape of `w`: `"dense"` (D, D), `"elementwise"` (D,), or `"scalar"` (D, 1), one slope
            for all dimensions.
        rank: `w` as a product of (D, rank) and (rank, D), for wide layers; dense only. `None`: not.
        meta_init: `"unit"`, `w = 0` and `b = 1`, so that the layer starts as `tanh(x)`; or
            `"literal"`, a Glorot `w` and no `b`, the summary's formula word for word.
        negative_slope: of the LeakyReLU. 0.2 is TensorFlow 1's (inferred: the slope is not stated).

    Call arguments:
        x: `(..., D)`.

    Returns:
        Of the same shape.

    Reference:
        Liu et al., Skip Meta Logit, arXiv 2210.10725: Meta Tanh Normalization.
    """

    def __init__(self, meta="dense", rank=None, meta_init="unit", negative_slope=0.2, **kwargs):
        super().__init__(**kwargs)
        require_choice(("dense", "elementwise", "scalar"), meta=meta)
        require_choice(("unit", "literal"), meta_init=meta_init)
        if rank is not None:
            require_positive(rank=rank)
            if meta != "dense":
                raise ValueError(f"`rank` needs `meta='dense'`. Received: rank={rank}, {meta=}")
        self.meta = meta
        self.rank = rank
        self.meta_init = meta_init
        self.negative_slope = negative_slope

    def build(self, input_shape):
        width = input_shape[-1]
        literal = self.meta_init == "literal"
        shape = {"dense": (width, width), "elementwise": (width,), "scalar": (width, 1)}[self.meta]
        self.down = None
        if self.rank is not None:
            shape = (self.rank, width)
            self.down = self.add_weight(
                shape=(width, self.rank), initializer="glorot_normal", name="down"
            )
        self.kernel = self.add_weight(
            shape=shape, initializer="glorot_normal" if literal else "zeros", name="kernel"
        )
        self.bias = None
        if not literal:
            self.bias = self.add_weight(shape=shape[-1:], initializer="ones", name="bias")
        self.gain = self.add_weight(shape=(width,), initializer="ones", name="gain")

    def call(self, x):
        return self.gain * ops.tanh(self.slopes(ops.stop_gradient(x)) * x)

    def slopes(self, x):
        """Returns `s(x)`: `(..., D)`, or `(..., 1)` for `meta="scalar"`."""
        if self.down is not None:
            x = ops.matmul(x, self.down)
        s = x * self.kernel if self.meta == "elementwise" else ops.matmul(x, self.kernel)
        if self.bias is not None:
            s = s + self.bias
        return ops.leaky_relu(s, self.negative_slope)

    def compute_output_shape(self, input_shape):
        return input_shape
