from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.interaction.pairs import pair_indices


class BiInteraction(Layer):
    """All pairwise products, summed to one vector: `Σ_{i<j} e_i ⊙ e_j = ½ [(Σ e_i)² - Σ e_i²]`.

    The sum of that vector is a `FactorizationMachine`. Squares are float32 under every dtype
    policy: where one field is much longer than the others, little is left of their difference.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, D)`.

    Reference:
        He and Chua, "Neural Factorization Machines", SIGIR 2017, eq. (4).
    """

    takes = {"x": "(B, F, D)"}

    def build(self, input_shape):
        pair_indices(input_shape[1])  # raises where there are none

    def call(self, x):
        wide = ops.cast(x, "float32")
        products = ops.square(ops.sum(wide, axis=1)) - ops.sum(ops.square(wide), axis=1)
        return ops.cast(0.5 * products, x.dtype)
