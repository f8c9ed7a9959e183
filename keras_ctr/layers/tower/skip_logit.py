from keras import ops

from keras_ctr.layers.base import Layer


class SkipLogit(Layer):
    """Every hidden layer adds its own term to the logit: `Σ_i v_iᵀ h_i`, in float32.

    Widths may differ, so layers of any shape get a skip connection; and the variance of the logit
    grows linearly with their number. The last layer's term is the usual final `Dense(1)`. `v_i` has
    no bias and starts as Glorot's (our choice).

    The paper's `x_0`, the logit of all other parts of a model, is what `layers.Click` adds.

    Call arguments:
        hidden: list of outputs of hidden layers, `(B, D_i)`; the `D_i` may differ.

    Returns:
        Logit `(B, 1)`, float32.

    Reference:
        Liu et al., Skip Meta Logit, arXiv 2210.10725: Skip Logit (known from a summary).
    """

    takes = {"hidden": "(B, D_i)"}

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape):
        self.vectors = [
            self.add_weight(
                shape=(shape[-1], 1),
                initializer="glorot_normal",
                autocast=False,
                name=f"vector_{at}",
            )
            for at, shape in enumerate(input_shape)
        ]

    def call(self, hidden):
        return sum(self.terms(hidden))

    def terms(self, hidden):
        """Returns the terms of the sum, a list of `(B, 1)`."""
        return [
            ops.matmul(ops.cast(h, "float32"), v) for h, v in zip(hidden, self.vectors, strict=True)
        ]

    def compute_output_shape(self, input_shape):
        return input_shape[0][0], 1
