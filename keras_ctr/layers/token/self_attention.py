import math

from keras import ops

from keras_ctr._checks import require_divisor
from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.masking import masked_softmax
from keras_ctr.layers.token.per_token_dense import PerTokenDense


class SelfAttention(Layer):
    """Multi-head attention of tokens over tokens: `softmax(Q Kᵀ / √D_h) V`, then a projection.

    Scores and softmax are float32 under every dtype policy. A token that may attend to nothing
    (padding before the first event, under a causal mask) gets the zero vector.

    Args:
        num_heads: number of heads `H`; must divide the width `D`.
        own_tokens: as in `PerTokenDense`, for the query, key and value projections. The output
            projection is shared by all tokens (OneTrans leaves it open; our choice).
        causal: whether token `t` sees only the tokens up to `t`.
        keep: only the last tokens ask, and only they come out; all are still seen. An int is how
            many. A float is a share of the tokens in front of the `own_tokens`, rounded up: one
            step of OneTrans's pyramid. `None`: all.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: optional `(B, T)` bool, True where there is a token: the others are not attended to.
        first: optional `(1, P, D)`, tokens before all rows, whose mask `(1, P)` is then given; see
            `Stack`. Their keys and values are computed once.

    Returns:
        `(B, T, D)`, or the last of these tokens. With `first`: a pair of theirs and this.

    Raises:
        ValueError: `first` without `causal`, by which they would depend on each row.

    Reference:
        Vaswani et al., arXiv 1706.03762, eq. (1); Zhang et al., "OneTrans", arXiv 2510.26104.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)", "first": "(1, P, D)"}

    def __init__(self, num_heads=4, own_tokens=0, causal=False, keep=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(keep, float) and not 0 <= keep <= 1:
            raise ValueError(f"A share `keep` must lie in [0, 1]. Received: keep={keep}")
        self.num_heads = num_heads
        self.own_tokens = own_tokens
        self.causal = causal
        self.keep = keep

    def build(self, input_shape):
        width = input_shape[-1]
        require_divisor("the token width", width, num_heads=self.num_heads)
        asking_shape = self.compute_output_shape(input_shape)
        self.asking = asking_shape[1]
        options = {"use_bias": False, "dtype": self.dtype_policy}
        self.query = PerTokenDense(width, self.own_tokens, **options)
        self.key_value = PerTokenDense(2 * width, self.own_tokens, **options)
        self.output_projection = PerTokenDense(width, own_tokens=0, **options)
        self.query.build(asking_shape)
        self.key_value.build(input_shape)
        self.output_projection.build(asking_shape)

    def call(self, x, mask=None, first=None):
        if first is not None:
            return self._after(first, x, mask)
        tokens, asking = x.shape[1], self.asking
        query, key, value = self._projected(x, asking)
        return self._out(attention(query, key, value, self._allowed(asking, tokens, mask)))

    def _after(self, first, x, mask):
        """The outputs of the `first` tokens, once for all rows, and of those behind them."""
        if not self.causal:
            raise ValueError(
                "Only causal attention can take `first` tokens apart. Received: causal=False"
            )
        before, tokens = first.shape[1], x.shape[1]
        asking = min(self.asking, tokens)
        first_query, first_key, first_value = self._projected(first, self.asking - asking, True)
        query, key, value = self._projected(x, asking)
        out = None
        if self.asking > asking:
            allowed = self._allowed(self.asking - asking, before, mask)
            out = self._out(attention(first_query, first_key, first_value, allowed))
        seen = True if mask is None else ops.cast(mask, "bool")
        seen = ops.broadcast_to(seen, (1, before))[:, None, None]
        allowed = self._allowed(asking, tokens, None)  # of the tokens behind
        return out, self._out(
            attention_after(query, (first_key, first_value, seen), (key, value, allowed))
        )

    def _projected(self, x, asking, before=False):
        """Query `(B, asking, H, D/H)` of the last tokens, or None; key and value of all."""
        tokens, width = x.shape[1:]
        heads = (self.num_heads, width // self.num_heads)
        options = {"before": True} if before else {}
        query = None
        if asking:
            query = ops.reshape(self.query(x[:, -asking:], **options), (-1, asking, *heads))
        key_value = ops.reshape(self.key_value(x, **options), (-1, tokens, 2, *heads))
        return query, key_value[:, :, 0], key_value[:, :, 1]

    def _out(self, x):
        tokens, heads, width = x.shape[1:]
        return self.output_projection(ops.reshape(x, (-1, tokens, heads * width)))

    def compute_output_shape(self, input_shape):
        batch, tokens, width = input_shape
        if isinstance(self.keep, float):
            own = tokens if self.own_tokens is None else self.own_tokens
            tokens = own + math.ceil(self.keep * (tokens - own))
        elif self.keep is not None:
            tokens = min(self.keep, tokens)
        return batch, tokens, width

    def _allowed(self, asking, tokens, mask):
        """A bool tensor that broadcasts to `(B, H, asking, T)`, or None if nothing is hidden."""
        allowed = None if mask is None else ops.cast(mask, "bool")[:, None, None, :]
        if self.causal:
            asking = ops.arange(tokens - asking, tokens)
            past = ops.greater_equal(asking[:, None], ops.arange(tokens)[None, :])[None, None]
            allowed = past if allowed is None else ops.logical_and(allowed, past)
        return allowed


def attention(query, key, value, allowed=None):
    """`softmax(Q Kᵀ / √D_h) V` of `(B, T', H, D_h)` over `(B, T, H, D_h)`, softmax in float32.

    `allowed` is a bool tensor that broadcasts to `(B, H, T', T)`; `None`: everything is seen.
    """
    scores = ops.cast(ops.einsum("bthd,bshd->bhts", query, key), "float32")
    scores = scores * query.shape[-1] ** -0.5
    weights = ops.softmax(scores) if allowed is None else masked_softmax(scores, allowed)
    return ops.einsum("bhts,bshd->bthd", ops.cast(weights, value.dtype), value)


def attention_after(query, first, own):
    """`attention` over keys and values that all rows share, and then those of each row.

    Args:
        query: `(B, T', H, D_h)`.
        first: key and value `(1, P, H, D_h)`, and which are seen, a bool tensor that broadcasts to
            `(B, H, T', P)`.
        own: key and value `(B, T, H, D_h)`, and which are seen.
    """
    key, value, seen = own
    first_key, first_value, first_seen = first
    scores = [
        ops.einsum("bthd,shd->bhts", query, first_key[0]),
        ops.einsum("bthd,bshd->bhts", query, key),
    ]
    scores = ops.concatenate([ops.cast(each, "float32") for each in scores], axis=-1)
    scores = scores * query.shape[-1] ** -0.5
    parts = (first_seen, first_key.shape[1]), (seen, key.shape[1])
    asking = query.shape[1]
    allowed = ops.concatenate(
        [ops.broadcast_to(each, (1, 1, asking, tokens)) for each, tokens in parts], axis=-1
    )
    weights = ops.cast(masked_softmax(scores, allowed), value.dtype)
    before = first_key.shape[1]
    found = ops.einsum("bhts,shd->bthd", weights[..., :before], first_value[0])
    return found + ops.einsum("bhts,bshd->bthd", weights[..., before:], value)
