import keras
from keras import ops

from keras_ctr._checks import require_widths
from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.masking import is_shared, masked_softmax, weighted_sum
from keras_ctr.layers.tower.activations import activation_layer
from keras_ctr.layers.tower.dice import Dice


class TargetAttention(Layer):
    """DIN's local activation unit: `Σ_s a_s e_s` with `a_s = MLP([t; e_s; t - e_s; t ⊙ e_s])`.

    How much an event counts depends on the target `t`. The weights do not sum to one, so that many
    matching events weigh more than one. Padding has weight 0 and does not enter the statistics of
    `Dice` (in FuxiCTR it does).

    Args:
        hidden_units: widths of the MLP before its last layer, which is linear and has width 1.
        activation: of the MLP, the name of a Keras activation, or `"dice"`.
        softmax: whether the weights are made to sum to one over the events. The paper abandons
            this; the authors' code, which divides by `√K` before it, and BARS's best runs have it.
        dropout: rate after each activation.

    Call arguments:
        target: `(B, K)`.
        events: `(B, S, K)`; or `(1, S, K)`, which all targets share.
        mask: `(B, S)` bool, True where there is an event; `(1, S)` of shared events.

    Returns:
        `(B, K)`; zeros where there is no event.

    Reference:
        Zhou et al., "Deep Interest Network", arXiv 1706.06978, eq. (3) and figure 2, with the four
        inputs of the authors' code.
    """

    takes = {"target": "(B, K)", "events": "(B, S, K)", "mask": "(B, S)"}

    def __init__(self, hidden_units=(36,), activation="dice", softmax=False, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        require_widths(hidden_units=hidden_units)
        self.hidden_units = hidden_units
        self.activation = activation
        self.softmax = softmax
        self.dropout = dropout
        options = {"kernel_initializer": "glorot_normal", "dtype": self.dtype_policy}
        self.dense = [keras.layers.Dense(units, **options) for units in hidden_units]
        self.activations = [activation_layer(activation, self.dtype_policy) for _ in hidden_units]
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.project = keras.layers.Dense(1, **options)

    def build(self, target_shape, events_shape, mask_shape=None):
        shape = (*events_shape[:2], 2 * events_shape[2] + 2 * target_shape[1])
        for dense, activation in zip(self.dense, self.activations, strict=True):
            dense.build(shape)
            shape = (*shape[:2], dense.units)
            activation.build(shape)
        self.project.build(shape)

    def call(self, target, events, mask, training=None):
        return weighted_sum(self.scores(target, events, mask), events)

    def scores(self, target, events, mask):
        """Returns the weights `a` `(B, S)`, float32."""
        apart = is_shared(events, target)
        if not apart:
            target = ops.broadcast_to(target[:, None], ops.shape(events))
            x = ops.concatenate([target, events, target - events, target * events], axis=-1)
        for at, (dense, activation) in enumerate(zip(self.dense, self.activations, strict=True)):
            x = self._first_dense(target, events) if apart and not at else dense(x)
            x = activation(x, mask=mask) if isinstance(activation, Dice) else activation(x)
            x = self.drop(x)
        scores = ops.cast(self.project(x)[..., 0], "float32")  # (B, S)
        return masked_softmax(scores, mask) if self.softmax else ops.where(mask, scores, 0.0)

    def _first_dense(self, target, events):
        """`W [t; e; t - e; t ⊙ e] + b` `(B, S, units)` of shared events: `[e; 1]` times a matrix.

        The matrix `(K + 1, units)` is that of a target.
        """
        kernel = [ops.cast(k, events.dtype) for k in ops.split(self.dense[0].kernel, 4, axis=0)]
        of_target, of_event, of_difference, of_product = kernel
        slope = target[..., None] * of_product + (of_event - of_difference)  # (B, K, units)
        offset = ops.matmul(target, of_target + of_difference)
        offset = offset + ops.cast(self.dense[0].bias, events.dtype)
        maps = ops.concatenate([slope, offset[:, None]], axis=1)
        events = ops.concatenate([events, ops.ones_like(events[..., :1])], axis=-1)
        return ops.matmul(events, maps)

    def compute_output_shape(self, target_shape, events_shape, mask_shape=None):
        return (target_shape[0], events_shape[2])
