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
        first: optional `(1, P, D)`, tokens before all rows, the context ones among them, whose mask
            `(1, P)` is then given; see `Stack`. Their keys and values are computed once.

    Returns:
        The increment, without `x`: `(B, T, D)`, or `(B, min(keep, T), D)`. With `first`: a pair of
        theirs and this.

    Reference:
        Zhai et al., "Actions Speak Louder than Words", arXiv 2402.17152. `Q` and `K` are as wide
        as `U` and `V` here, `D` for all heads together.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)", "first": "(1, P, D)"}

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

    def call(self, x, mask=None, first=None, training=None):
        if first is not None:
            return self._after(first, x, mask)
        tokens, asking = x.shape[1], self.asking
        gate, query, key, value = self._projected(x, asking)
        scores = ops.einsum("bthd,bshd->bhts", query, key)
        weights = self._weights(scores, range(tokens - asking, tokens), range(tokens), mask)
        return self._out(ops.einsum("bhts,bshd->bthd", weights, value), gate)

    def _after(self, first, x, mask):
        """The increments of the `first` tokens, once for all rows, and of those behind them."""
        before, tokens = first.shape[1], x.shape[1]
        asking = min(self.asking, tokens)
        first_asking = self.asking - asking
        gate, query, first_key, first_value = self._projected(first, first_asking)
        out = None
        if first_asking:
            scores = ops.einsum("bthd,bshd->bhts", query, first_key)
            places = range(before - first_asking, before)
            weights = self._weights(scores, places, range(before), mask)
            out = self._out(ops.einsum("bhts,bshd->bthd", weights, first_value), gate)
        gate, query, key, value = self._projected(x, asking)
        places = range(before + tokens - asking, before + tokens)
        scores = ops.einsum("bthd,shd->bhts", query, first_key[0])
        weights = self._weights(scores, places, range(before), mask)
        mixed = ops.einsum("bhts,shd->bthd", weights, first_value[0])
        scores = ops.einsum("bthd,bshd->bhts", query, key)
        weights = self._weights(scores, places, range(before, before + tokens), None)
        return out, self._out(mixed + ops.einsum("bhts,bshd->bthd", weights, value), gate)

    def _projected(self, x, asking):
        """Gate `(B, asking, D)` and query `(B, asking, H, D/H)` of the last, key, value of all."""
        tokens, width = x.shape[1:]
        heads = (self.num_heads, width // self.num_heads)
        x, gate, query = self.norm(x), None, None
        if asking:
            gate, query = ops.split(self.gate_query(x[:, -asking:]), 2, axis=-1)
            query = ops.reshape(query, (-1, asking, *heads))
        value, key = ops.split(self.value_key(x), 2, axis=-1)  # (B, T, D)
        value, key = (ops.reshape(part, (-1, tokens, *heads)) for part in (value, key))
        return gate, query, key, value

    def _weights(self, scores, asking, asked, mask):
        """Weights `(B, H, T', T)` of scores, of tokens at such places."""
        scores = ops.cast(scores, "float32")
        distance = np.array(asking)[:, None] - np.array(asked)
        all_tokens = (self.relative_bias.shape[1] + 1) // 2
        bias = ops.take(self.relative_bias, distance + all_tokens - 1, axis=1)  # (H, T', T)
        scale = (self.output_projection.units // self.num_heads) ** -0.5
        weights = ops.silu(scores * scale + bias) / all_tokens
        weights = weights * ops.cast(self._allowed(distance, asked, mask), "float32")
        return ops.cast(weights, self.compute_dtype)

    def _out(self, mixed, gate):
        mixed = self.mixed_norm(ops.reshape(mixed, (-1, *gate.shape[1:])))
        return self.output_projection(self.drop(mixed * gate))

    def compute_output_shape(self, input_shape):
        batch, tokens, width = input_shape
        return batch, tokens if self.keep is None else min(self.keep, tokens), width

    def _allowed(self, distance, asked, mask):
        """Returns a bool tensor that broadcasts to `(B, H, T', T)`."""
        seen = (distance >= 0) | (np.array(asked) < self.num_context)
        seen = ops.convert_to_tensor(seen[None, None])
        if mask is None:
            return seen
        return ops.logical_and(seen, ops.cast(mask, "bool")[:, None, None, :])
