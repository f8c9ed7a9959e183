import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer


class CrossMixture(Layer):
    """The cross network of DCN-V2 with low-rank kernels, mixed over experts.

    `x_{l+1} = x_l + Σ_m softmax_m(g_mᵀ x_l) · [x_0 ⊙ (U_m tanh(C_m tanh(V_mᵀ x_l)) + b_l)]`.
    As in FuxiCTR's implementation, the gates `g` are shared by all layers and the bias by all
    experts of a layer.

    Args:
        num_layers: number of cross layers `L`.
        rank: rank `r` of each expert's kernel.
        num_experts: number of experts.

    Call arguments:
        x: `(B, K)`, or `(B, F, D)`, which is flattened.

    Returns:
        `(B, K)`, with `K = F·D` for a flattened input.

    Reference:
        Wang et al., "DCN V2", arXiv 2008.13535, eqs. (3) to (5).
    """

    takes = {"x": "(B, K) or (B, F, D)"}

    def __init__(self, num_layers=3, rank=32, num_experts=4, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_layers=num_layers, rank=rank, num_experts=num_experts)
        self.num_layers = num_layers
        self.rank = rank
        self.num_experts = num_experts
        self.flatten = keras.layers.Flatten(dtype=self.dtype_policy)

    def build(self, input_shape):
        width = self.flatten.compute_output_shape(input_shape)[-1]
        # Glorot for each expert's own matrix: Keras counts axis 0 as a receptive field, which the
        # factor E undoes.
        glorot = {"scale": self.num_experts, "mode": "fan_avg", "distribution": "truncated_normal"}
        self.gates = self.add_weight(
            shape=(width, self.num_experts), initializer="glorot_normal", name="gates"
        )
        self.factors = []
        for layer in range(self.num_layers):
            shapes = {
                "v": (self.num_experts, width, self.rank),
                "c": (self.num_experts, self.rank, self.rank),
                "u": (self.num_experts, self.rank, width),
            }
            weights = [
                self.add_weight(
                    shape=shape,
                    initializer=keras.initializers.VarianceScaling(**glorot),
                    name=f"{name}_{layer}",
                )
                for name, shape in shapes.items()
            ]
            bias = self.add_weight(shape=(width,), initializer="zeros", name=f"bias_{layer}")
            self.factors.append((*weights, bias))

    def call(self, x):
        x = first = self.flatten(x)  # (B, K)
        for v, c, u, bias in self.factors:
            low = ops.tanh(ops.einsum("bk,ekr->ber", x, v))
            low = ops.tanh(ops.einsum("ber,ers->bes", low, c))
            high = ops.einsum("bes,esk->bek", low, u) + bias  # (B, E, K)
            gate = ops.softmax(ops.matmul(x, self.gates), axis=-1)  # (B, E)
            x = x + first * ops.einsum("be,bek->bk", gate, high)
        return x
