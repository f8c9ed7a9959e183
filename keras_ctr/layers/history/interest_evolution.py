import keras
from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.copies import copies
from keras_ctr.layers.history.augru import AUGRU
from keras_ctr.layers.history.bilinear_attention import BilinearAttention
from keras_ctr.layers.tower.mlp import MLP


class InterestEvolution(Layer):
    """DIEN's two layers over time: interests `h = GRU(e)`, then their evolution `AUGRU(h, a)`.

    The attention `a` of the target over the interests sets the pace of the second one.

    The auxiliary loss teaches the interests: `h_t` should tell the next event from another one,
    `-ln σ(f(h_t, e_{t+1})) - ln(1 - σ(f(h_t, ê_{t+1})))`. Our choice of `ê`: what the next row of
    the batch has at that place, or its newest event if that is padding. Rows are shuffled in
    training, so this is a random event of somebody else, with no random numbers and no further
    column in the data. An event has no such term if the next row has no history, or is itself.

    Args:
        attention: pattern of the attention, with a method `scores` whose values lie between 0 and
            1, such as `TargetAttention(softmax=True)`. `None`: `BilinearAttention()`.
        auxiliary: whether to have the auxiliary loss.

    Call arguments:
        target: `(B, K)`.
        events: `(B, S, K)`, oldest first.
        mask: `(B, S)` bool, True where there is an event.

    Returns:
        `(B, K)`. In training with an auxiliary loss: a pair of it and `(B, 2)` float32, per row
        the sum of the loss over the row's events and their number.

    Reference:
        Zhou et al., "Deep Interest Evolution Network", arXiv 1809.03672. `f` is the MLP
        100-50-1 of the authors' code.
    """

    takes = {"target": "(B, K)", "events": "(B, S, K)", "mask": "(B, S)"}

    def __init__(self, attention=None, auxiliary=True, **kwargs):
        super().__init__(**kwargs)
        [self.attention] = copies(attention or BilinearAttention(), 1, self.dtype_policy)
        if not hasattr(self.attention, "scores") or not getattr(self.attention, "softmax", True):
            # Where scores exceed 1, the state of an AUGRU grows without bound.
            raise ValueError(
                "`attention` must have a method `scores` with values between 0 and 1, such as "
                f"`TargetAttention(softmax=True)`. Received: {type(self.attention).__name__}, "
                f"softmax={getattr(self.attention, 'softmax', None)}"
            )
        self.auxiliary = auxiliary
        self.extract = AUGRU(return_sequences=True, dtype=self.dtype_policy)
        self.evolve = AUGRU(dtype=self.dtype_policy)
        self.tell = self.logit = None
        if auxiliary:
            self.tell = MLP([100, 50], "sigmoid", dtype=self.dtype_policy)
            self.logit = keras.layers.Dense(1, dtype="float32")

    def build(self, target_shape, events_shape, mask_shape=None):
        self.extract.build(events_shape)
        self.attention.build(target_shape, events_shape, mask_shape)
        self.evolve.build(events_shape)
        if self.auxiliary:
            self.tell.build((None, 2 * events_shape[-1]))
            self.logit.build((None, 50))

    def call(self, target, events, mask, training=None):
        interests = self.extract(events, mask=mask)  # (B, S, K)
        scores = self.attention.scores(target, interests, mask)  # (B, S)
        interest = self.evolve(interests, scores=scores, mask=mask)  # (B, K)
        if not (training and self.auxiliary):
            return interest
        return interest, self.auxiliary_loss(interests, events, mask)

    def auxiliary_loss(self, interests, events, mask):
        """Returns `(B, 2)`: per row the sum over events, and how many there are."""
        if events.shape[1] == 1:  # nothing follows a single event
            return ops.zeros((ops.shape(events)[0], 2))
        steps = ops.logical_and(mask[:, :-1], mask[:, 1:])
        others, there = ops.roll(events, -1, axis=0), ops.roll(mask, -1, axis=0)
        others = ops.where(there[..., None], others, others[:, -1:])[:, 1:]
        known = ops.logical_and(steps, there[:, -1:])
        rows = ops.sum(ops.ones_like(mask[:, 0], dtype="int32"))  # which torch.compile can trace
        known = ops.logical_and(known, rows > 1)
        loss = _softplus(-self._told(interests, events[:, 1:]), steps)
        loss = loss + _softplus(self._told(interests, others), known)
        count = ops.sum(ops.cast(steps, "float32"), axis=1)
        return ops.stack([loss, count], axis=1)

    def _told(self, interests, following):
        """The logit `(B, S - 1)` that an event follows the interest before it."""
        x = ops.concatenate([interests[:, :-1], following], axis=-1)
        steps, width = x.shape[1:]
        return ops.reshape(self.logit(self.tell(ops.reshape(x, (-1, width)))), (-1, steps))

    def compute_output_shape(self, target_shape, events_shape, mask_shape=None):
        return (events_shape[0], events_shape[2])


def _softplus(logits, where):
    return ops.sum(ops.softplus(logits) * ops.cast(where, "float32"), axis=1)
