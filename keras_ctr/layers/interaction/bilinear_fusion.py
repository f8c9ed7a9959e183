import keras
from keras import ops

from keras_ctr._checks import require_divisor
from keras_ctr.layers.base import Layer


class BilinearFusion(Layer):
    """What two streams say together: `Σ_h x_hᵀ W_h y_h`, each cut into as many heads as there are.

    The linear terms of FinalMLP's fusion, `w_xᵀ x + w_yᵀ y`, are `Click`'s.

    Args:
        num_heads: number of heads `H`; must divide both widths. One head is a full bilinear form.

    Call arguments:
        inputs: list of `x` `(B, X)` and `y` `(B, Y)`.

    Returns:
        A logit `(B, 1)`, float32.

    Reference:
        Mao et al., "FinalMLP", arXiv 2304.00902: multi-head bilinear fusion. Kernels start
        Xavier-normal by the shape `(number of weights, 1)`, as in FuxiCTR.
    """

    takes = {"inputs": "(B, K)"}

    def __init__(self, num_heads=1, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        widths = [shape[-1] for shape in input_shape]
        for name, width in zip(("the first", "the second"), widths, strict=True):
            require_divisor(f"{name} stream's width", width, num_heads=self.num_heads)
        x, y = (width // self.num_heads for width in widths)
        stddev = (2 / (self.num_heads * x * y + 1)) ** 0.5
        self.kernel = self.add_weight(
            shape=(self.num_heads, x, y),
            initializer=keras.initializers.RandomNormal(stddev=stddev),
            name="kernel",
        )

    def call(self, inputs):
        x, y = (
            ops.reshape(part, (-1, self.num_heads, part.shape[-1] // self.num_heads))
            for part in inputs
        )
        products = ops.einsum("bhx,hxy->bhy", x, self.kernel) * y
        return ops.sum(ops.cast(products, "float32"), axis=(1, 2))[:, None]
