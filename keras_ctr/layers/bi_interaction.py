from keras import ops

from keras_ctr.layers._base import Layer


class BiInteraction(Layer):
    """All pairwise products, summed to one vector: `Σ_{i<j} e_i ⊙ e_j = ½ [(Σ e_i)² - Σ e_i²]`.

    The sum of that vector is a `FactorizationMachine`.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, D)`.

    Reference:
        He and Chua, "Neural Factorization Machines", SIGIR 2017, eq. (4).
    """

    def call(self, x):
        return 0.5 * (ops.square(ops.sum(x, axis=1)) - ops.sum(ops.square(x), axis=1))
