from keras import ops

from keras_ctr._checks import require_divisor, require_not_negative, require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.depth.pre_norm import PreNorm
from keras_ctr.layers.depth.serial import Serial
from keras_ctr.layers.depth.stack import Stack
from keras_ctr.layers.token.feed_forward import FeedForward
from keras_ctr.layers.token.self_attention import SelfAttention
from keras_ctr.layers.token.sequence_tokenizer import SequenceTokenizer


class MergedSequenceTokenizer(Layer):
    """Puts behaviour histories in front of the field tokens, `K` neighbouring events to a token.

    Events become vectors of width `D/K`, the `K` of a group may attend to one another in a small
    Transformer of that width (LONGER's InnerTrans), and are then written side by side.

    Groups are counted from the newest event; the oldest one is filled up with padding. Groups do
    not cross from one history to the next. Unlike the paper, events carry no time differences.

    Args:
        merge_size: events per token, the paper's `K`; must divide `D`.
        inner_layers: layers of the small Transformer within a group, with one head; 0 leaves it
            out, and so does a group of one.

    Call arguments:
        x: field tokens `(B, T, D)`; `D` is the paper's `K·d`.
        histories: list (of any length) with, per sequence, its events `(B, S, D_e)` and their mask
            `(B, S)`, as `FeatureEmbedding(pool=None)` returns it.
        apart: whether to return the tokens of the events alone.

    Returns:
        Tokens `(B, sum of all ceil(S / K) + T, D)`, oldest first, and their mask, False for a token
        that holds no event; `T` is left out where the events are `apart`, and `B` is then that of
        the histories.

    Reference:
        Chai et al., "LONGER", arXiv 2505.04421, token merge. Norms and sizes of the inner layers
        are our choice.
    """

    takes = {"x": "(B, T, D)", "histories": ("(B, S, D)", "(B, S)")}

    def __init__(self, merge_size=4, inner_layers=1, **kwargs):
        super().__init__(**kwargs)
        require_positive(merge_size=merge_size)
        require_not_negative(inner_layers=inner_layers)
        self.merge_size = merge_size
        self.inner_layers = inner_layers

    def build(self, x_shape, histories_shape=()):  # Keras leaves the shape of an empty list out
        batch, _, width = x_shape
        require_divisor("the token width", width, merge_size=self.merge_size)
        self.event_width = width // self.merge_size
        self.tokenize = self.inner = None
        if not histories_shape:
            return
        self.tokenize = SequenceTokenizer(dtype=self.dtype_policy)
        self.tokenize.build(
            (batch, 0, self.event_width),
            [
                ((batch, events[1] + self._missing(events[1]), events[2]), mask)
                for events, mask in histories_shape
            ],
        )
        if self.merge_size > 1 and self.inner_layers:
            units = [self._inner_layer() for _ in range(self.inner_layers)]
            self.inner = Stack(units, dtype=self.dtype_policy)
            self.inner.build((None, self.merge_size, self.event_width))

    def _inner_layer(self):
        options = {"dtype": self.dtype_policy}
        attention, feed_forward = SelfAttention(1, **options), FeedForward(**options)
        return Serial([PreNorm(part, **options) for part in (attention, feed_forward)], **options)

    def call(self, x, histories, apart=False):
        present = ops.ones_like(x[..., 0], dtype="bool")
        if not histories:
            return x, present
        histories = [self._filled_up(*history) for history in histories]
        no_fields = x[:, :0, : self.event_width]
        events, mask = self.tokenize(no_fields, histories, apart=True)
        tokens = events.shape[1] // self.merge_size
        events = ops.reshape(events, (-1, self.merge_size, self.event_width))  # (B·T', K, D/K)
        in_group = ops.reshape(mask, (-1, self.merge_size))
        if self.inner is not None:
            events = self.inner(events, mask=in_group)
        # Padding has a position too, but nothing to say.
        events = events * ops.cast(in_group[..., None], events.dtype)
        events = ops.reshape(events, (-1, tokens, x.shape[-1]))  # (B, T', D)
        mask = ops.any(ops.reshape(mask, (-1, tokens, self.merge_size)), axis=-1)
        if apart:
            return events, mask
        return ops.concatenate([events, x], axis=1), ops.concatenate([mask, present], axis=1)

    def _missing(self, length):
        return -length % self.merge_size

    def _filled_up(self, events, mask):
        before = (self._missing(events.shape[1]), 0)
        return ops.pad(events, ((0, 0), before, (0, 0))), ops.pad(mask, ((0, 0), before))
