import keras
from keras import ops

from keras_ctr.layers.base import Layer
from keras_ctr.layers.residuals.sinkhorn import sinkhorn
from keras_ctr.layers.token.per_token import per_token_matmul


class BlockMixing(Layer):
    """Mixes blocks of the flattened tokens: `out = W_G [z_1 W_1; …; z_N W_N]`.

    The `T·D` values are cut into `N` blocks `z_i` of `P` values. A matrix per block mixes within
    it, then one matrix mixes between blocks. All of them are doubly stochastic (rows and columns
    sum to 1), by Sinkhorn's iteration on logits over the temperature, in float32. Abstract:
    `local_logits` and `global_logits` are a subclass's. Both are called once per batch.

    Args:
        block_size: values per block `P`, which must divide `T·D`.
        temperature: `τ`. A low one makes the matrices close to permutations.
        iterations: Sinkhorn iterations. Rows sum to 1 exactly, columns nearly.

    Call arguments:
        x: tokens `(B, T, D)` with static `T`.
        mask: ignored.

    Returns:
        `(B, T, D)`.
    """

    takes = {"x": "(B, T, D)"}

    def __init__(self, block_size=8, temperature=0.2, iterations=20, **kwargs):
        super().__init__(**kwargs)
        if temperature <= 0:
            raise ValueError(f"`temperature` must be positive. Received: {temperature}")
        self.block_size = block_size
        self.temperature = temperature
        self.iterations = iterations

    def build(self, input_shape):
        _, tokens, width = input_shape
        flat = tokens * width
        if self.block_size < 2 or flat % self.block_size:
            fitting = [size for size in range(2, flat + 1) if flat % size == 0]
            raise ValueError(
                f"`block_size` must divide the {flat} values of {tokens} tokens of width {width}: "
                f"one of {fitting}. Received: block_size={self.block_size}"
            )
        self.blocks = flat // self.block_size

    def local_logits(self):
        """Returns float32 logits `(N, P, P)`."""
        raise NotImplementedError

    def global_logits(self):
        """Returns float32 logits `(N, N)`."""
        raise NotImplementedError

    def matrices(self):
        """Returns the doubly stochastic `(N, P, P)` and `(N, N)`, float32."""
        logits = (self.local_logits(), self.global_logits())
        return [sinkhorn(part / self.temperature, self.iterations) for part in logits]

    def call(self, x, mask=None):
        _, tokens, width = x.shape
        local, between = (ops.cast(matrix, x.dtype) for matrix in self.matrices())
        x = ops.reshape(x, (-1, self.blocks, self.block_size))  # (B, N, P)
        x = per_token_matmul(x, local)
        x = ops.einsum("mn,bnq->bmq", between, x)
        return ops.reshape(x, (-1, tokens, width))

    def compute_output_shape(self, input_shape):
        return input_shape

    def new_logits(self, shape, name, stddev=1.0):
        """Adds a float32 weight that starts as normal numbers of this standard deviation."""
        return self.add_weight(
            shape=shape,
            initializer=keras.initializers.RandomNormal(stddev=stddev),
            autocast=False,
            name=name,
        )
