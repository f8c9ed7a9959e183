import keras
from keras import ops

from keras_ctr._checks import require_choice
from keras_ctr.layers.base import Layer
from keras_ctr.layers.interaction.pairs import pair_indices, pairs

KERNELS = ("all", "field", "pair")


class BilinearInteraction(Layer):
    """The product of every pair after a linear map of its first: `(e_i W) ⊙ e_j` for `i < j`.

    Args:
        kernel: how many matrices `W` there are: one for `"all"` pairs, one per (first) `"field"`,
            or one per `"pair"`; the paper's Field-All, Field-Each and Field-Interaction.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, P, D)`, in the order (0, 1), (0, 2), …, (1, 2), …

    Reference:
        Huang et al., "FiBiNET", arXiv 1905.09433: bilinear-interaction layer.
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, kernel="pair", **kwargs):
        super().__init__(**kwargs)
        require_choice(KERNELS, kernel=kernel)
        self.kernel = kernel

    def build(self, input_shape):
        _, fields, width = input_shape
        first, _ = pair_indices(fields)
        # The last field is the first of no pair.
        count = {"all": 1, "field": fields - 1, "pair": len(first)}[self.kernel]
        # Xavier for each matrix: Keras counts axis 0 as a receptive field, which `count` undoes.
        self.maps = self.add_weight(
            shape=(count, width, width),
            initializer=keras.initializers.VarianceScaling(count, "fan_avg"),
            name="kernel",
        )

    def call(self, x):
        first, second = pairs(x)  # (B, P, D)
        if self.kernel == "pair":
            return ops.einsum("bpd,pde->bpe", first, self.maps) * second
        if self.kernel == "all":
            mapped = ops.matmul(x, self.maps[0])
        else:
            mapped = ops.einsum("bfd,fde->bfe", x[:, :-1], self.maps)
        return ops.take(mapped, pair_indices(x.shape[1])[0], axis=1) * second
