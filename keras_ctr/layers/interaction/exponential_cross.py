from keras_ctr.layers.interaction.masked_cross import MaskedCross


class ExponentialCross(MaskedCross):
    """FCN's exponential cross network: `x_{l+1} = x_l ⊙ (C_l + b_l) + x_l`.

    Each layer doubles the degree: `L` layers reach `2^L`, where `LinearCross` reaches `L + 1`. Half
    of `C_l` is masked: `C = [H; H ⊙ ReLU(LN(H))]`, `H = W x`, `W` without bias to half the width.
    Biases `b` start uniform in `[0, 1)`.

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
        for layer, drop in enumerate(self.drops):
            x = drop(x * self.factor(x, layer) + x)
        return x
