import keras
import numpy as np
from keras import ops

from keras_ctr._checks import require_divisor, require_positive
from keras_ctr.layers.base import Layer


class TransductionUnit(Layer):
    """HSTU's layer: attention without softmax, gated, and no feed-forward part after it.

    `U, V, Q, K = split(SiLU(W·LN(x) + b))`, `A = SiLU(QKᵀ/√D_h + rab) / N`, and the increment is
    `W_o·dropout(LN(AV) ⊙ U)`. Weights are not made to sum to one, so that many matching events
    count for more than one. `N` is the number of tokens, padding included: the same for every row.

    A token sees those up to itself, and all `num_context` first ones, which see one another.
    Scores are float32 under every dtype policy. The bias `rab` is one learned number per head and
    distance, 0 at the start.

    Unlike the paper, `rab` knows positions only: the buckets of elapsed time are left out, since
    histories come without times. That it is per head and starts at 0, and that context tokens do
    not see events, is our choice.

    Args:
        num_heads: number of heads `H`; must divide the width `D`.
        num_context: how many tokens, counted from the front, are seen by all.
        keep: only the last `keep` tokens ask, and only they come out. `None`: all.
        dropout: rate before the output projection.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: optional `(B, T)` bool, True where there is a token: the others are not attended to.

    Returns:
        The increment, without `x`: `(B, T, D)`, or `(B, min(keep, T), D)`.

    Reference:
        Zhai et al., "Actions Speak Louder than Words", arXiv 2402.17152. `Q` and `K` are as wide
        as `U` and `V` here, `D` for all heads together.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)"}

    def __init__(self, num_heads=4, num_context=0, keep=None, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        if keep is not None:
            require_positive(keep=keep)
        self.num_heads = num_heads
        self.num_context = num_context
        self.keep = keep
        self.dropout = dropout

    def build(self, input_shape):
        _, tokens, width = input_shape
        require_divisor("the token width", width, num_heads=self.num_heads)
        asking_shape = self.compute_output_shape(input_shape)
        self.asking = asking_shape[1]
        options = {"dtype": self.dtype_policy}
        # A few events among many paddings give AV of about 1e-3: Keras's epsilon would drown it.
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, **options)
        self.mixed_norm = keras.layers.LayerNormalization(epsilon=1e-6, **options)
        self.gate_query = keras.layers.Dense(2 * width, activation="silu", **options)
        self.value_key = keras.layers.Dense(2 * width, activation="silu", **options)
        self.drop = keras.layers.Dropout(self.dropout, **options)
        self.output_projection = keras.layers.Dense(width, **options)
        self.norm.build(input_shape)
        self.value_key.build(input_shape)
        for part in (self.gate_query, self.mixed_norm, self.output_projection):
            part.build(asking_shape)
        self.relative_bias = self.add_weight(
            shape=(self.num_heads, 2 * tokens - 1),  # distances from 1 - T to T - 1
            initializer="zeros",
            autocast=False,
            name="relative_bias",
        )

    def call(self, x, mask=None, training=None):
        tokens, width = x.shape[1:]
        heads = (self.num_heads, width // self.num_heads)
        x = self.norm(x)
        gate, query = ops.split(self.gate_query(x[:, -self.asking :]), 2, axis=-1)
        value, key = ops.split(self.value_key(x), 2, axis=-1)  # (B, T, D)
        query = ops.reshape(query, (-1, self.asking, *heads))
        value, key = (ops.reshape(part, (-1, tokens, *heads)) for part in (value, key))
        scores = ops.cast(ops.einsum("bthd,bshd->bhts", query, key), "float32")
        distance = np.arange(tokens - self.asking, tokens)[:, None] - np.arange(tokens)
        bias = ops.take(self.relative_bias, distance + tokens - 1, axis=1)  # (H, T', T)
        weights = ops.silu(scores * heads[1] ** -0.5 + bias) / tokens
        weights = weights * ops.cast(self._allowed(distance, mask), "float32")
        mixed = ops.einsum("bhts,bshd->bthd", ops.cast(weights, value.dtype), value)
        mixed = self.mixed_norm(ops.reshape(mixed, (-1, self.asking, width)))
        return self.output_projection(self.drop(mixed * gate))

    def compute_output_shape(self, input_shape):
        batch, tokens, width = input_shape
        return batch, tokens if self.keep is None else min(self.keep, tokens), width

    def _allowed(self, distance, mask):
        """Returns a bool tensor that broadcasts to `(B, H, T', T)`."""
        seen = (distance >= 0) | (np.arange(distance.shape[1]) < self.num_context)
        seen = ops.convert_to_tensor(seen[None, None])
        if mask is None:
            return seen
        return ops.logical_and(seen, ops.cast(mask, "bool")[:, None, None, :])
