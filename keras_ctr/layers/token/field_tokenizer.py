import keras
from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.per_token_dense import PerTokenDense


class FieldTokenizer(Layer):
    """Fields to tokens, one each through a projection of its own, and a learned token at the end.

    The last token stands for the task: it belongs to no field, and is there to be read out.

    The RMSNorm over all fields in front is our choice: embeddings start at a standard deviation of
    1e-4. A norm per field would take the value out of a numeric column.

    Args:
        dim: token width `D`.

    Call arguments:
        x: field embeddings `(B, F, D_e)`.

    Returns:
        `(B, F + 1, dim)`.

    Reference:
        Gui et al., "Hiformer", arXiv 2311.05884: one token per feature, and task tokens.
    """

    takes = {"x": "(B, F, D_e)"}

    def __init__(self, dim, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.norm = keras.layers.RMSNormalization(axis=[1, 2], dtype=self.dtype_policy)
        self.project = PerTokenDense(dim, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.norm.build(input_shape)
        self.project.build(input_shape)
        self.task = self.add_weight(
            shape=(1, self.dim),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="task",
        )

    def call(self, x):
        x = self.project(self.norm(x))  # (B, F, D)
        task = ops.zeros_like(x[:, :1]) + self.task  # (B, 1, D)
        return ops.concatenate([x, task], axis=1)
