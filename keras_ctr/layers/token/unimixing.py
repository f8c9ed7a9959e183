from keras import ops

from keras_ctr.layers.token.block_mixing import BlockMixing


class UniMixing(BlockMixing):
    """`BlockMixing` with free symmetric logits: `W = Sinkhorn((W̃ + W̃ᵀ) / 2τ)`.

    Token mixing is the case of `W_i = I` and a permutation `W_G`, which it contains for `T = H`.
    `N² + N·P²` weights. Logits start at a standard deviation of 1 (the paper does not say):
    near 0 every matrix would be an average, and the layer would put out one and the same value.

    Args: those of `BlockMixing`. The paper lets `τ` fall from 1 to 0.05 in training; here it is
        fixed, at the value of a public workspace of one of the authors.

    Reference:
        "UniMixer", arXiv 2604.00590.
    """

    def build(self, input_shape):
        super().build(input_shape)
        n, p = self.blocks, self.block_size
        self.local_weight = self.new_logits((n, p, p), "local")
        self.global_weight = self.new_logits((n, n), "global")

    def local_logits(self):
        return _symmetric(self.local_weight)

    def global_logits(self):
        return _symmetric(self.global_weight)


def _symmetric(logits):
    return (logits + ops.swapaxes(logits, -1, -2)) / 2
