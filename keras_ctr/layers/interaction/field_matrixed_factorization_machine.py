import keras
import numpy as np
from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.interaction.pairs import pair_indices


class FieldMatrixedFactorizationMachine(Layer):
    """Inner products, each seen through the matrix of its pair of fields: `Σ_{i<j} e_iᵀ M_ij e_j`.

    With identity matrices it is a `FactorizationMachine`. Field `j`'s partners are summed first,
    `Σ_{i<j} e_iᵀ M_ij`, which is one matrix product and never holds a vector per pair.

    Args:
        diagonal: whether each `M_ij` is a diagonal matrix (the paper's field-vectorized FM).

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        A logit `(B, 1)`, float32.

    Reference:
        Sun et al., "FM²: Field-matrixed Factorization Machines", arXiv 2102.12994.
        Matrices start Xavier-normal, each by its own shape; diagonals by the shape `(P, D)` of
        them all, as in FuxiCTR.
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, diagonal=False, **kwargs):
        super().__init__(**kwargs)
        self.diagonal = diagonal

    def build(self, input_shape):
        _, fields, width = input_shape
        first, second = pair_indices(fields)
        shape, initializer = (len(first), width), "glorot_normal"
        if not self.diagonal:
            # Keras counts axis 0 as a receptive field, which the factor P undoes.
            initializer = keras.initializers.VarianceScaling(len(first), "fan_avg")
            shape = (*shape, width)
        self.kernel = self.add_weight(shape=shape, initializer=initializer, name="kernel")
        # Where each pair's matrix is found; everything else is the zero matrix behind the last.
        self.places = np.full((fields, fields), len(first), "int32")
        self.places[first, second] = np.arange(len(first))

    def call(self, x):
        kernel = ops.convert_to_tensor(self.kernel)
        kernel = ops.concatenate([kernel, ops.zeros_like(kernel[:1])])
        kernel = ops.reshape(
            ops.take(kernel, self.places.ravel(), axis=0), (*self.places.shape, *kernel.shape[1:])
        )
        equation = "bid,ijd->bjd" if self.diagonal else "bid,ijde->bje"
        products = ops.einsum(equation, x, kernel) * x
        return ops.sum(ops.cast(products, "float32"), axis=(1, 2))[:, None]
