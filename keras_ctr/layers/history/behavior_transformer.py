import numpy as np
from keras import ops

from keras_ctr._checks import require_choice, require_even, require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.post_norm_layer import PostNormLayer


class BehaviorTransformer(Layer):
    """BST's encoder: events and target as one sequence, each beside a vector of its position.

    Positions are learned and start as sinusoids. They are counted from the target backwards, since
    histories are right-aligned: the paper counts elapsed time, which histories do not have.

    Args:
        position_dim: width of a position's vector, even.
        num_layers: Transformer layers; LeakyReLU in the feed-forward part, which is as wide as a
            token.
        num_heads: attention heads; must divide `K + position_dim`.
        dropout: rate within the layers.
        readout: `"target"`, the output at the target, or `"mean"` of all outputs.

    Call arguments:
        target: `(B, K)`.
        events: `(B, S, K)`, oldest first.
        mask: `(B, S)` bool, True where there is an event.

    Returns:
        `(B, K + position_dim)`.

    Reference:
        Chen et al., "Behavior Sequence Transformer", arXiv 1905.06874.
    """

    takes = {"target": "(B, K)", "events": "(B, S, K)", "mask": "(B, S)"}

    def __init__(
        self, position_dim, num_layers=1, num_heads=8, dropout=0.0, readout="target", **kwargs
    ):
        super().__init__(**kwargs)
        require_even(position_dim=position_dim)
        require_positive(num_layers=num_layers)
        require_choice(("target", "mean"), readout=readout)
        self.position_dim = position_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.dropout = dropout
        self.readout = readout
        self.encode = [
            PostNormLayer(num_heads, None, "leaky_relu", dropout, dtype=self.dtype_policy)
            for _ in range(num_layers)
        ]

    def build(self, target_shape, events_shape, mask_shape=None):
        batch, length, width = events_shape
        self.position = self.add_weight(
            shape=(length + 1, self.position_dim),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(
                sinusoids(*shape)[::-1].copy(), dtype
            ),
            name="position",
        )
        for layer in self.encode:
            layer.build((batch, length + 1, width + self.position_dim))

    def call(self, target, events, mask, training=None):
        x = ops.concatenate([events, target[:, None]], axis=1)  # (B, S + 1, K)
        position = ops.zeros_like(x[..., :1]) + ops.convert_to_tensor(self.position)
        x = ops.concatenate([x, position], axis=-1)
        mask = ops.pad(mask, ((0, 0), (0, 1)), constant_values=True)
        for layer in self.encode:
            x = layer(x, mask=mask)
        if self.readout == "target":
            return x[:, -1]
        there = ops.cast(mask, x.dtype)[..., None]
        return ops.sum(x * there, axis=1) / ops.sum(there, axis=1)

    def compute_output_shape(self, target_shape, events_shape, mask_shape=None):
        return (events_shape[0], events_shape[2] + self.position_dim)


def sinusoids(length, width):
    """Returns `(length, width)`: sines at even, cosines at odd places, as in the Transformer."""
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, width)
