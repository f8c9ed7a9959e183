import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.post_norm_layer import PostNormLayer


class ActionTransformer(Layer):
    """TransAct: every event beside the target, a Transformer, its newest outputs and their maximum.

    `x_s = [e_s; t]`, `y = Transformer(x)`, and out come the last `num_recent` of `y` with
    `W max_s y_s + b`.

    A model that reads what was just clicked shows more of the same. The paper hides a random time
    window before the request while it trains; histories have no times, so `hide_recent` counts
    events.

    Args:
        num_layers: Transformer layers.
        num_heads: attention heads; must divide `2·K`.
        hidden_units: width of the feed-forward parts' hidden layer.
        num_recent: how many of the newest outputs come out one by one; at most all.
        hide_recent: in training, the newest `r` events count as padding, with `r` uniform from 0 to
            `hide_recent`, drawn once per batch.
        dropout: rate within the layers.

    Call arguments:
        target: `(B, K)`.
        events: `(B, S, K)`, oldest first.
        mask: `(B, S)` bool, True where there is an event.

    Returns:
        `(B, (min(num_recent, S) + 1)·2·K)`, zeros in the place of padding.

    Reference:
        Xia et al., "TransAct", arXiv 2306.00248; code pinterest/transformer_user_action, whose
        sizes are the defaults.
    """

    takes = {"target": "(B, K)", "events": "(B, S, K)", "mask": "(B, S)"}

    def __init__(
        self,
        num_layers=2,
        num_heads=2,
        hidden_units=32,
        num_recent=10,
        hide_recent=0,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(num_layers=num_layers, num_recent=num_recent)
        if hide_recent:
            require_positive(hide_recent=hide_recent)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_units = hidden_units
        self.num_recent = num_recent
        self.hide_recent = hide_recent
        self.dropout = dropout
        self.seed = keras.random.SeedGenerator() if hide_recent else None
        self.encode = [
            PostNormLayer(num_heads, hidden_units, "relu", dropout, dtype=self.dtype_policy)
            for _ in range(num_layers)
        ]

    def build(self, target_shape, events_shape, mask_shape=None):
        batch, length, width = events_shape
        for layer in self.encode:
            layer.build((batch, length, 2 * width))
        self.project = keras.layers.Dense(2 * width, dtype=self.dtype_policy)
        self.project.build((batch, 2 * width))

    def call(self, target, events, mask, training=None):
        if training and self.hide_recent:
            mask = ops.logical_and(mask, self._not_hidden(events.shape[1]))
        target = ops.broadcast_to(target[:, None], ops.shape(events))
        x = ops.concatenate([events, target], axis=-1)  # (B, S, 2·K)
        for layer in self.encode:
            x = layer(x, mask=mask)
        there = mask[..., None]
        x = ops.where(there, x, 0.0)
        most = ops.max(ops.where(there, x, -1e9), axis=1)
        most = ops.where(ops.any(there, axis=1), most, 0.0)  # (B, 2·K)
        newest = x[:, -self.num_recent :]
        newest = ops.reshape(newest, (-1, newest.shape[1] * newest.shape[2]))
        return ops.concatenate([newest, self.project(most)], axis=-1)

    def _not_hidden(self, length):
        hidden = keras.random.randint((), 0, self.hide_recent + 1, seed=self.seed)
        return ops.less(ops.arange(length), length - hidden)[None]

    def compute_output_shape(self, target_shape, events_shape, mask_shape=None):
        batch, length, width = events_shape
        return (batch, (min(self.num_recent, length) + 1) * 2 * width)
