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
    """Puts the events of behaviour histories, oldest first, in front of the field tokens.

    Each history has its own projection, whose bias tells histories apart, and a learned position
    per event. Histories are right-aligned: the last of their positions is the newest event.

    Call arguments:
        x: field tokens `(B, T, D)`.
        histories: list (of any length) with, per sequence, its events `(B, S, D_e)` and their mask
            `(B, S)`, as `FeatureEmbedding(pool=None)` returns it.

    Returns:
        Tokens `(B, sum of all S + T, D)` and their mask `(B, sum of all S + T)`, False for padding.

    Reference:
        Zhang et al., "OneTrans", arXiv 2510.26104: sequence tokens, in front of the others. Learned
        absolute positions are our choice.
    """

    def build(self, x_shape, histories_shape=()):  # Keras leaves the shape of an empty list out
        width = x_shape[-1]
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.norms, self.projections, self.positions = [], [], []
        for at, (events, _) in enumerate(histories_shape):
            norm = keras.layers.RMSNormalization(dtype=self.dtype_policy)
            norm.build(events)
            self.norms.append(norm)
            projection = keras.layers.Dense(width, dtype=self.dtype_policy)
            projection.build(events)
            self.projections.append(projection)
            self.positions.append(
                self.add_weight(
                    shape=(events[1], width), initializer=small.clone(), name=f"position_{at}"
                )
            )

    def call(self, x, histories):
        tokens, masks = [], []
        for at, (events, mask) in enumerate(histories):
            events = self.projections[at](self.norms[at](events))
            tokens.append(events + self.positions[at])  # (B, S, D)
            masks.append(mask)
        masks.append(ops.ones_like(x[..., 0], dtype="bool"))
        return ops.concatenate([*tokens, x], axis=1), ops.concatenate(masks, axis=1)
