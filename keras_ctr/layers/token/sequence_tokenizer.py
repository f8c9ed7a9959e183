import keras
from keras import ops

from keras_ctr.layers.base import Layer


class SequenceTokenizer(Layer):
    """Puts the events of behaviour histories, oldest first, in front of the field tokens.

    Each history has its own projection, whose bias tells histories apart, and a learned position
    per event. Histories are right-aligned: the last of their positions is the newest event.

    Args:
        separator: whether a learned token `[SEP]` stands between two histories.

    Call arguments:
        x: field tokens `(B, T, D)`.
        histories: list (of any length) with, per sequence, its events `(B, S, D_e)` and their mask
            `(B, S)`, as `FeatureEmbedding(pool=None)` returns it.
        apart: whether to return the tokens of the events alone.

    Returns:
        Tokens `(B, sum of all S + separators + T, D)` and their mask, False for padding; `T` is
        left out where the events are `apart`, and `B` is then that of the histories.

    Reference:
        Zhang et al., "OneTrans", arXiv 2510.26104: sequence tokens, in front of the others, merged
        without timestamps. Learned absolute positions are our choice.
    """

    takes = {"x": "(B, T, D)", "histories": ("(B, S, D)", "(B, S)")}

    def __init__(self, separator=False, **kwargs):
        super().__init__(**kwargs)
        self.separator = separator

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
        if self.separator and len(histories_shape) > 1:
            self.separators = self.add_weight(
                shape=(len(histories_shape) - 1, width), initializer=small.clone(), name="separator"
            )

    def call(self, x, histories, apart=False):
        tokens, masks = [], []
        for at, (events, mask) in enumerate(histories):
            if at and self.separator:
                newest = tokens[-1][:, -1:]  # (B, 1, D)
                tokens.append(ops.zeros_like(newest) + self.separators[at - 1])
                masks.append(ops.ones_like(newest[..., 0], dtype="bool"))
            events = self.projections[at](self.norms[at](events))
            tokens.append(events + self.positions[at])  # (B, S, D)
            masks.append(mask)
        if not apart:
            tokens.append(x)
            masks.append(ops.ones_like(x[..., 0], dtype="bool"))
        return ops.concatenate(tokens, axis=1), ops.concatenate(masks, axis=1)
