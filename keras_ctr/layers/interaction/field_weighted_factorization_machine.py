from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.interaction.dot_interaction import DotInteraction
from keras_ctr.layers.interaction.pairs import pair_indices


class FieldWeightedFactorizationMachine(Layer):
    """Inner products, each with the strength of its pair of fields: `Σ_{i<j} r_ij ⟨e_i, e_j⟩`.

    With all `r_ij = 1` it is a `FactorizationMachine`. Strengths start Xavier-normal, as in
    FuxiCTR.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        A logit `(B, 1)`, float32.

    Reference:
        Pan et al., "Field-weighted Factorization Machines", arXiv 1806.03514.
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.interact = DotInteraction(dtype=self.dtype_policy)

    def build(self, input_shape):
        first, _ = pair_indices(input_shape[1])
        self.strengths = self.add_weight(
            shape=(len(first), 1), initializer="glorot_normal", autocast=False, name="strengths"
        )

    def call(self, x):
        return ops.matmul(ops.cast(self.interact(x), "float32"), self.strengths)
