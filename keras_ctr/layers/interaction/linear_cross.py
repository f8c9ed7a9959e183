from keras_ctr.layers.interaction.masked_cross import MaskedCross


class LinearCross(MaskedCross):
    """FCN's linear cross network: `x_{l+1} = x_0 ⊙ (C_l + b_l) + x_l`.

    Like `Cross`, each layer raises the degree by one; half of `C_l` is masked, as in
    `ExponentialCross`.

    Args:
        num_layers: number of layers `L`.
        dropout: rate after each layer.

    Call arguments:
        x: `(B, K)` or `(B, H, K)` with even `K`; heads share the weights.

    Returns:
        Same shape.

    Reference:
        Li et al., "DCNv3" (later "FCN"), arXiv 2407.13349; code salmon1802/FCN.
    """

    takes = {"x": "(B, K) or (B, H, K)"}

    def call(self, x, training=None):
        first = x
        for layer, drop in enumerate(self.drops):
            x = drop(first * self.factor(x, layer) + x)
        return x
