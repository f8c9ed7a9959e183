import numpy as np
from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.interaction.pairs import pair_indices


class DotInteraction(Layer):
    """The inner product of every pair of fields, one by one: `⟨e_i, e_j⟩` for `i < j`.

    This is DLRM's interaction and the inner product layer of PNN. Their sum is a
    `FactorizationMachine`. keras-rs does the same thing as well: its `DotInteraction` takes a list
    of fields, has the pairs in the order (1, 0), (2, 0), (2, 1), …, and can add the fields'
    products with themselves.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, P)`, in the order (0, 1), (0, 2), …, (1, 2), …

    Reference:
        Naumov et al., "DLRM", arXiv 1906.00091; Qu et al., "Product-based Neural
        Networks", arXiv 1611.00144, section III-B.
    """

    takes = {"x": "(B, F, D)"}

    def call(self, x):
        fields = x.shape[1]
        flat = np.ravel_multi_index(pair_indices(fields), (fields, fields)).astype("int32")
        products = ops.einsum("bid,bjd->bij", x, x)
        return ops.take(ops.reshape(products, (-1, fields * fields)), flat, axis=1)
