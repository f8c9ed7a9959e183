import keras
from keras import ops

from keras_ctr.layers._base import Layer


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


class SequenceTokenizer(Layer):
    """Behaviour histories to tokens, one after the other, oldest event first.

    Each history has its own projection, a learned position per event and a learned vector that
    tells which history it is. Histories are right-aligned: the last position is the newest event.

    Args:
        dim: token width `D`.

    Call arguments:
        histories: list with, per sequence, its events `(B, S, D_e)` and their mask `(B, S)`, as
            `FeatureEmbedding(pool=None)` returns it.

    Returns:
        Tokens `(B, sum of all S, D)` and their mask `(B, sum of all S)`, True for an event.

    Reference:
        Zhang et al., "OneTrans", arXiv 2510.26104: sequence tokens. Learned absolute positions are
        our choice.
    """

    def __init__(self, dim, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim

    def build(self, input_shape):
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.norms, self.projections, self.positions = [], [], []
        for at, (events, _) in enumerate(input_shape):
            norm = keras.layers.RMSNormalization(dtype=self.dtype_policy)
            norm.build(events)
            self.norms.append(norm)
            # The bias is the vector that tells histories apart.
            projection = keras.layers.Dense(self.dim, dtype=self.dtype_policy)
            projection.build(events)
            self.projections.append(projection)
            self.positions.append(
                self.add_weight(
                    shape=(events[1], self.dim), initializer=small.clone(), name=f"position_{at}"
                )
            )

    def call(self, histories):
        tokens, masks = [], []
        for at, (events, mask) in enumerate(histories):
            events = self.projections[at](self.norms[at](events))
            tokens.append(events + self.positions[at])  # (B, S, D)
            masks.append(mask)
        return ops.concatenate(tokens, axis=1), ops.concatenate(masks, axis=1)
