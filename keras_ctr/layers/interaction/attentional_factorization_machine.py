import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer
from keras_ctr.layers.interaction.pairs import pairs


class AttentionalFactorizationMachine(Layer):
    """A mean of all pairwise products, weighted by attention: `Σ_{i<j} a_ij e_i ⊙ e_j`.

    `a = softmax(hᵀ ReLU(W (e_i ⊙ e_j) + b))` over the pairs, in float32. It holds a vector of
    width `D` and one of width `attention_dim` for each pair.

    Args:
        attention_dim: width of the attention network, the paper's `t`.
        dropout: rate on the pooled vector.
        attention_dropout: rate on the attention weights.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, D)`; the paper's `pᵀ` turns it into a logit.

    Reference:
        Xiao et al., "Attentional Factorization Machines", IJCAI 2017, eqs. (4) to (6).
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, attention_dim=16, dropout=0.0, attention_dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        require_positive(attention_dim=attention_dim)
        self.attention_dim = attention_dim
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.attend = keras.layers.Dense(
            attention_dim, "relu", kernel_initializer="glorot_normal", dtype=self.dtype_policy
        )
        self.score = keras.layers.Dense(
            1, use_bias=False, kernel_initializer="glorot_normal", dtype=self.dtype_policy
        )
        self.drop_weights = keras.layers.Dropout(attention_dropout, dtype=self.dtype_policy)
        self.drop_pooled = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        if input_shape[1] == 2:  # one pair, whose weight is 1: nothing to learn
            self.attend.built = self.score.built = True
            return
        self.attend.build(input_shape)
        self.score.build((*input_shape[:-1], self.attention_dim))

    def call(self, x, training=None):
        first, second = pairs(x)
        products = first * second  # (B, P, D)
        if products.shape[1] == 1:
            return self.drop_pooled(products[:, 0])
        scores = ops.cast(self.score(self.attend(products)), "float32")
        weights = ops.cast(ops.softmax(scores, axis=1), products.dtype)  # (B, P, 1)
        pooled = ops.sum(self.drop_weights(weights) * products, axis=1)
        return self.drop_pooled(pooled)
