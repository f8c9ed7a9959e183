from keras import ops

from keras_ctr.layers.base import Layer


class FactorizationMachine(Layer):
    """All pairwise inner products, summed: `Σ_{i<j} ⟨e_i, e_j⟩ = ½ Σ_D [(Σ_i e_i)² - Σ_i e_i²]`.

    Computed in float32 under every dtype policy: where one field is much longer than the others,
    little is left of the difference of the squares.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        A logit `(B, 1)`, float32.

    Reference:
        Rendle, "Factorization Machines", ICDM 2010, lemma 3.1.
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, x):
        square_of_sum = ops.square(ops.sum(x, axis=1))  # (B, D)
        sum_of_squares = ops.sum(ops.square(x), axis=1)  # (B, D)
        return 0.5 * ops.sum(square_of_sum - sum_of_squares, axis=-1, keepdims=True)
