import keras
from keras import ops

from keras_ctr.layers.base import Layer


class AutoSplitTokenizer(Layer):
    """Fields to tokens: one wide projection of all fields, split into `num_tokens` tokens.

    The RMSNorm in front is our choice: embeddings start at a standard deviation of 1e-4, and the
    projection should not.

    Args:
        num_tokens: number of tokens `T`.
        dim: token width `D`.

    Call arguments:
        x: field embeddings `(B, F, D_e)`.

    Returns:
        `(B, num_tokens, dim)`.

    Reference:
        Zhang et al., "OneTrans", arXiv 2510.26104: the auto-split tokenizer for non-sequence
        features.
    """

    takes = {"x": "(B, F, D_e)"}

    def __init__(self, num_tokens, dim, **kwargs):
        super().__init__(**kwargs)
        self.num_tokens = num_tokens
        self.dim = dim
        self.norm = keras.layers.RMSNormalization(dtype=self.dtype_policy)
        self.project = keras.layers.Dense(num_tokens * dim, dtype=self.dtype_policy)

    def build(self, input_shape):
        flat = (input_shape[0], input_shape[1] * input_shape[2])
        self.norm.build(flat)
        self.project.build(flat)

    def call(self, x):
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2]))  # (B, F·D_e)
        x = self.project(self.norm(x))
        return ops.reshape(x, (-1, self.num_tokens, self.dim))
