import math
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ctr.layers.residuals.base import Residual, tail


class Source(NamedTuple):
    """What a site attends to: a block `(B, T, D)`, and its scores at the sites that see it.

    `scores` are `(B, T, sites)`, of site `first` and those after it; for activations other than
    softmax they are the weights already.
    """

    block: Any
    first: int
    scores: Any


class DepthAttention(Residual):
    """Every site attends, token by token, over what the blocks before it have put out.

    Increments are summed in blocks of `block_size` units; block 0 is the stack's input. Site `l`
    sees a weighted sum of the finished blocks and the running one:
    `Σ_i a_i v_i` with `a = activation(⟨w_l, RMSNorm_l(v_i)⟩)`. Keys are normalised, values are not.

    With `"softmax"` this is Attention Residuals (the paper's text): weights compete, and at the
    start, `w = 0`, each site sees the mean of its sources. With `"silu"` or `"sigmoid"` several
    blocks can be active at once and scores are divided by `√D` (our choice: these are unbounded in
    the number of sources). A SiLU weight can be negative, down to -0.278, which is DeRes's
    forgetting; at the start it is 0.

    Args:
        block_size: units per block `K`; 1 is the full form. `None`: `ceil(depth / 8)`, since
            Attention Residuals finds about eight blocks enough.
        activation: `"softmax"`, `"silu"` or `"sigmoid"`.

    Reference:
        Kimi Team, "Attention Residuals", arXiv 2603.15031; "DeRes", arXiv 2606.07980, whose exact
        equations are not public: that its query is a learned vector and its block a sum is
        inferred from its stated cost of under 5% FLOPs.
    """

    def __init__(self, block_size=None, activation="softmax", **kwargs):
        super().__init__(**kwargs)
        if activation not in ("softmax", "silu", "sigmoid"):
            raise ValueError(
                "`activation` must be 'softmax', 'silu' or 'sigmoid'. "
                f"Received: activation={activation!r}"
            )
        if block_size is not None and block_size < 1:
            raise ValueError(
                f"`block_size` must be at least 1, or None. Received: block_size={block_size}"
            )
        self.block_size = block_size
        self.activation = activation

    def build(self, input_shape):
        super().build(input_shape)
        self.units_per_block = self.block_size or math.ceil(self.depth / 8)
        sites = (self.depth + 1, self.width)
        self.query = self.add_weight(shape=sites, initializer="zeros", name="query")
        self.gain = self.add_weight(shape=sites, initializer="ones", name="gain")

    def open(self, x):
        return (self._source(x, 0, self.depth + 1),), None  # finished blocks, running block

    def read(self, state, at):
        finished, running = state
        sources = finished
        if running is not None:
            sources = (*finished, self._source(running, at, at + 1))
        weights = self.weights_at(sources, at)
        self.note("weights", at, weights)
        mixed = sum(
            weight * ops.cast(source.block, "float32")
            for weight, source in zip(weights, sources, strict=True)
        )
        return ops.cast(mixed, sources[0].block.dtype), state

    def write(self, kept, y, at):
        finished, running = kept
        finished = tuple(
            Source(tail(block, y), first, tail(scores, y)) for block, first, scores in finished
        )
        running = y if running is None else tail(running, y) + y
        if (at + 1) % self.units_per_block == 0:
            return (*finished, self._source(running, at + 1, self.depth + 1)), None
        return finished, running

    def weights_at(self, sources, at):
        """Returns the weight of every source at site `at`, a list of `(B, T, 1)` in float32."""
        scores = [
            scores[..., at - first : at - first + 1] if scores.shape[-1] > 1 else scores
            for _, first, scores in sources
        ]
        if self.activation != "softmax":
            return scores
        if len(scores) == 1:  # a softmax over one source is 1 whatever its score
            return [ops.ones_like(scores[0])]
        weights = ops.softmax(ops.concatenate(scores, axis=-1))  # (B, T, sources)
        return [weights[..., i : i + 1] for i in range(len(scores))]

    def _source(self, block, first, stop):
        """Scores a block for the sites from `first` to `stop` at once: it is read one time."""
        x = ops.cast(block, "float32")
        directions = self.query[first:stop] * self.gain[first:stop]  # the gain folded into queries
        power = ops.mean(ops.square(x), axis=-1, keepdims=True)  # (B, T, 1)
        scores = ops.matmul(x, ops.transpose(directions)) * ops.rsqrt(power + 1e-6)
        if self.activation != "softmax":  # those weigh a block whatever the others are
            act = keras.activations.get(self.activation)
            scores = act(scores * self.width**-0.5)
        return Source(block, first, scores)
