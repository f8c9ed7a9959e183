from keras import ops

from keras_ctr.layers.token.block_mixing import BlockMixing


class UniMixingLite(BlockMixing):
    """`BlockMixing` with few weights: shared bases within blocks, low rank between them.

    `W_i = Sinkhorn(Σ_j ω_ij Z_j / τ)` from `J` bases, and `W_G = Sinkhorn(A B / τ)` of rank `r`
    before the iteration. `2·N·r + N·J + J·P²` weights; the arithmetic is that of `UniMixing`,
    since the matrix between blocks is a full one in the end. Logits start at a standard deviation
    of about 1, see `UniMixing`.

    Args: those of `BlockMixing`, and
        num_bases: number of shared bases `J`.
        rank: rank `r` of the logits between blocks, at most `N`. `None`: a quarter of `N`, which
            halves the weights between blocks.

    Reference:
        "UniMixer", arXiv 2604.00590, UniMixing-Lite.
    """

    def __init__(
        self, block_size=8, num_bases=4, rank=None, temperature=0.2, iterations=20, **kwargs
    ):
        super().__init__(block_size, temperature, iterations, **kwargs)
        self.num_bases = num_bases
        self.rank = rank

    def build(self, input_shape):
        super().build(input_shape)
        n, p, bases = self.blocks, self.block_size, self.num_bases
        rank = max(1, n // 4) if self.rank is None else self.rank
        if not 1 <= rank <= n:
            raise ValueError(
                f"`rank` must lie in [1, {n}], the number of blocks. Received: rank={rank}"
            )
        self.omega = self.new_logits((n, bases), "omega", bases**-0.5)
        self.bases = self.new_logits((bases, p, p), "bases")
        self.left = self.new_logits((n, rank), "left")
        self.right = self.new_logits((rank, n), "right", rank**-0.5)

    def local_logits(self):
        return ops.einsum("nj,jpq->npq", self.omega, self.bases)

    def global_logits(self):
        return ops.matmul(self.left, self.right)
