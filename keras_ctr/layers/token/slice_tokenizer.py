import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.per_token_dense import PerTokenDense


class SliceTokenizer(Layer):
    """Fields to tokens: all embeddings in a row, cut into equal slices, each with its own map.

    Fields that belong together should be neighbours in the schema, so that they share a token. The
    row is filled up with zeros where `num_tokens` does not divide it. The RMSNorm in front is our
    choice, as in `AutoSplitTokenizer`.

    Args:
        num_tokens: number of tokens `T`.
        dim: token width `D`.

    Call arguments:
        x: field embeddings `(B, F, D_e)`.

    Returns:
        `(B, num_tokens, dim)`.

    Reference:
        "RankMixer", arXiv 2507.15551, tokenisation; with a bias per token, "UniMixer", arXiv
        2604.00590.
    """

    takes = {"x": "(B, F, D_e)"}

    def __init__(self, num_tokens, dim, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_tokens=num_tokens)
        self.num_tokens = num_tokens
        self.dim = dim
        self.norm = keras.layers.RMSNormalization(dtype=self.dtype_policy)
        self.project = PerTokenDense(dim, dtype=self.dtype_policy)

    def build(self, input_shape):
        batch, fields, dim = input_shape
        flat = fields * dim
        self.slice = -(-flat // self.num_tokens)
        self.filling = self.slice * self.num_tokens - flat
        if self.filling >= self.slice:
            fitting = [t for t in range(1, self.num_tokens) if -(-flat // t) * (t - 1) < flat]
            raise ValueError(
                f"`num_tokens` slices of the {flat} embedded values ({fields} fields of width "
                f"{dim}) would leave one empty; the next smaller number that fits is {fitting[-1]}."
                f" Received: num_tokens={self.num_tokens}"
            )
        self.norm.build((batch, flat))
        self.project.build((batch, self.num_tokens, self.slice))

    def call(self, x):
        x = self.norm(ops.reshape(x, (-1, x.shape[1] * x.shape[2])))  # (B, F·D_e)
        x = ops.pad(x, ((0, 0), (0, self.filling)))
        return self.project(ops.reshape(x, (-1, self.num_tokens, self.slice)))
