from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer


class CompressedInteraction(Layer):
    """xDeepFM's CIN: each layer multiplies all its vectors by all fields and compresses them.

    `X^k_h = Σ_{i,j} W^{k,h}_{ij} (X^{k-1}_i ⊙ X^0_j) + b`, without an activation (the paper's best
    is the identity) and with every vector of every layer going to the output; summed over `D`.

    A layer is one outer product per embedding dimension and one matrix product over all of them.
    What it holds for the backward pass is the outer product, `B·D·F·H_{k-1}` numbers, never the
    `B·D·F·H_{k-1}·H_k` of the equation.

    Args:
        hidden_units: number of vectors (feature maps) `H_k` of each layer.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, sum of hidden_units)`.

    Reference:
        Lian et al., "xDeepFM", arXiv 1803.05170, eq. (6). The bias is FuxiCTR's.
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, hidden_units=(200, 200, 200), **kwargs):
        super().__init__(**kwargs)
        if not hidden_units:
            raise ValueError(f"`hidden_units` must not be empty. Received: {hidden_units}")
        require_positive(**{f"hidden_units[{at}]": h for at, h in enumerate(hidden_units)})
        self.hidden_units = hidden_units

    def build(self, input_shape):
        fields = entering = input_shape[1]
        self.maps = []
        for layer, units in enumerate(self.hidden_units):
            kernel = self.add_weight(
                shape=(entering * fields, units),
                initializer="glorot_normal",
                name=f"kernel_{layer}",
            )
            bias = self.add_weight(shape=(units,), initializer="zeros", name=f"bias_{layer}")
            self.maps.append((kernel, bias))
            entering = units

    def call(self, x):
        x = first = ops.transpose(x, (0, 2, 1))  # (B, D, F)
        pooled = []
        for kernel, bias in self.maps:
            products = x[..., None] * first[:, :, None]  # (B, D, H, F)
            products = ops.reshape(products, (-1, first.shape[1], kernel.shape[0]))
            x = ops.matmul(products, kernel) + bias  # (B, D, H')
            pooled.append(ops.sum(x, axis=1))
        return ops.concatenate(pooled, axis=-1)
